"""Check the arguments of `core.paragon.Upscale`, and derive the format and size of the result from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import vapoursynth as vs
import vsutil

from vsparagon.colours.description import RGB_MATRIX, matrix_code
from vsparagon.colours.formats import Target
from vsparagon.colours.layout import MOST_PIXELS
from vsparagon.errors import InvalidInput, check_integers
from vsparagon.models.model import Model

LARGEST: Final = 1 << 16  # width or height of a result, in pixels
CHROMA: Final = ("network", "resizer")  # what may upscale it
FURTHEST_SUBSAMPLING: Final = 2  # of chroma, as a base-2 logarithm


def check_clip(clip: vs.VideoNode) -> None:
    """Check that a clip has a format and size that the filter takes.

    Raises:
        InvalidInput: it has not.
    """
    if not isinstance(clip, vs.VideoNode):
        raise InvalidInput(f"the clip is {type(clip).__name__}; give a video clip.")
    if clip.format is None or clip.format.color_family == vs.UNDEFINED:
        raise InvalidInput(
            "the clip has variable format; convert it to one format, for example with clip.resize.Bicubic(format=...)."
        )
    if not clip.width:  # nor a height: VapourSynth has both or neither
        raise InvalidInput(
            "the clip has variable size; resize it to one size, for example with clip.resize.Bicubic(width, height)."
        )
    _check_subsampling("the clip", clip.format)
    depth = vsutil.get_depth(clip)
    if clip.format.sample_type == vs.INTEGER and depth > 16:
        raise InvalidInput(
            f"the clip is {clip.format.name}, {depth}-bit integer; convert it to 16-bit integer or to float first."
        )


def _check_subsampling(what: str, video_format: vs.VideoFormat) -> None:
    if max(video_format.subsampling_w, video_format.subsampling_h) > FURTHEST_SUBSAMPLING:
        raise InvalidInput(
            f"{what} is {video_format.name}; VapourSynth's resizer cannot convert chroma that is subsampled "
            f"more than {1 << FURTHEST_SUBSAMPLING} times."
        )


def pair_of(name: str, value: object) -> tuple[int, int] | None:
    """Return (height, width) from an argument that gives width and height or one number for both; None for 0 or ().

    Args:
        name: of the argument, for people.
        value: of the argument.

    Raises:
        InvalidInput: there are more than two numbers, or they are not integers.
    """
    # VapourSynth passes one number as an int. A text is a sequence, too, but not of numbers.
    values: list[Any] = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    for number in values:
        check_integers(**{name: number})
    if not values or values == [0]:
        return None
    if len(values) > 2:
        raise InvalidInput(f"{name} is {values}; give width and height, or one number for both.")
    return int(values[-1]), int(values[0])  # they may be of NumPy, which libraries refuse


def target_of(clip: vs.VideoNode, *, scale: int, width: int, height: int, format_id: int) -> Target:
    """Return format and size of the result.

    Args:
        clip: to be upscaled.
        scale: of the network.
        width, height: of the result in pixels, or 0.
        format_id: of the result, or 0.

    Raises:
        InvalidInput: an argument is unknown or out of range, or they do not fit together.
    """
    if format_id:
        try:
            video_format = vs.core.get_video_format(format_id)
            if video_format.color_family == vs.UNDEFINED:
                raise ValueError(format_id)
        except (vs.Error, ValueError, OverflowError) as error:
            raise InvalidInput(
                f"format is {format_id}, which is not a video format; give one such as vs.YUV420P10."
            ) from error
    else:
        video_format = clip.format
    _check_subsampling("format", video_format)
    if video_format.sample_type == vs.INTEGER and video_format.bits_per_sample > 16:
        raise InvalidInput(f"format is {video_format.name}; give one of up to 16-bit integer, half or float.")
    for name, value in (("width", width), ("height", height)):
        if not 0 <= value <= LARGEST:
            raise InvalidInput(f"{name} is {value}; it must be between 0 (default) and {LARGEST}.")
    across, down = 1 << video_format.subsampling_w, 1 << video_format.subsampling_h
    if not width:
        width = max(1, round(clip.width * height / clip.height / across)) * across if height else clip.width * scale
    if not height:
        kept = max(1, round(clip.height * width / clip.width / down)) * down
        height = clip.height * scale if width == clip.width * scale else kept
    if width % across or height % down:
        nearest = f"{-(-width // across) * across}x{-(-height // down) * down}"
        raise InvalidInput(
            f"the result would be {width}x{height}, but {video_format.name} needs a width divisible by {across} "
            f"and a height divisible by {down}; give another width= or height=, such as those of {nearest}, or another "
            "format."
        )
    for what, pixels in (
        (f"the result of {width}x{height}", width * height),
        (f"the network's output of {clip.width * scale}x{clip.height * scale}", clip.width * clip.height * scale**2),
    ):
        if pixels > MOST_PIXELS:
            raise InvalidInput(f"{what} has more than the {MOST_PIXELS} pixels that a frame may have.")
    return Target(format=video_format, width=width, height=height)


def gets_only_luma(chroma: str, source: vs.VideoFormat, model: Model) -> bool:
    """Return whether the network upscales only luma, and VapourSynth's resizer the chroma.

    Args:
        chroma: what upscales it: "network", "resizer" or, for the default, "": the network if it takes colours.
        source: format of the clip.
        model: the network.

    Raises:
        InvalidInput: another name, or one that does not suit the clip or the network.
    """
    if chroma not in ("", *CHROMA):
        raise InvalidInput(f"chroma is {chroma!r}; it must be one of {', '.join(CHROMA)}.")
    if chroma == "network" and model.channels == 1:
        raise InvalidInput(f'chroma is "network", but {model.name} takes one plane; leave chroma= out.')
    if chroma == "resizer" and source.color_family == vs.RGB:
        raise InvalidInput(f'chroma is "resizer", but the clip is {source.name}, without chroma; leave chroma= out.')
    return source.color_family == vs.YUV and (chroma == "resizer" or model.channels == 1)


def matrix_of(name: str, source: vs.VideoFormat, target: vs.VideoFormat) -> int | None:
    """Return the ITU-T H.273 code of the matrix that was given; None for "".

    Args:
        name: one of `vsparagon.colours.description.MATRICES`, or "".
        source, target: the formats of the clip and of the result.

    Raises:
        InvalidInput: the name is unknown, or does not suit the formats.
    """
    code = matrix_code(name)
    if code == RGB_MATRIX and {source.color_family, target.color_family} != {vs.RGB}:
        raise InvalidInput('matrix is "rgb", which is not the matrix of a YUV or GRAY clip; give one such as "709".')
    return code
