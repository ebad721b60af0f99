"""The colour description in a frame's properties, and what players assume where a property is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import vapoursynth as vs

from vsparagon.errors import InvalidInput

# Names that VapourSynth's resizer accepts as `matrix_in_s`, and their ITU-T H.273 codes.
MATRICES = {
    "rgb": 0,
    "709": 1,
    "fcc": 4,
    "470bg": 5,
    "170m": 6,
    "240m": 7,
    "ycgco": 8,
    "2020ncl": 9,
    "2020cl": 10,
    "chromancl": 12,
    "chromacl": 13,
    "ictcp": 14,
}
# Frame properties with the matrix: VapourSynth's and, where that is missing, the one that mpv's `video_in` has.
MATRIX_PROPERTIES = ("_Matrix", "_ColorSpace")
RGB_MATRIX = 0
UNSPECIFIED = 2
LIMITED, FULL = 0, 1
LEFT = 0
LOCATIONS = 6


@dataclass(frozen=True, kw_only=True)
class Colour:
    """The explicit colour description of a frame. Codes are those of ITU-T H.273, as in frame properties.

    Attributes:
        matrix: from RGB to the frame's planes; 0 for RGB.
        range: `LIMITED` (16 to 235 in 8 bit) or `FULL`.
        chroma_location: of subsampled chroma, 0 to 5 as VapourSynth numbers it; `LEFT` if chroma is not subsampled.
        has_alpha: whether an alpha frame is attached.
    """

    matrix: int
    range: int
    chroma_location: int
    has_alpha: bool


def guess_matrix(width: int, height: int) -> int:
    """Return what players assume for untagged video: BT.709 from 1280 wide or above 576 lines, else BT.601."""
    return MATRICES["709"] if width >= 1280 or height > 576 else MATRICES["170m"]


def usual_matrix(frame: vs.VideoFrame) -> int:
    """Return the frame's `_Matrix` code if the resizer can convert to YUV with it, else what players assume."""
    tagged = frame.props.get("_Matrix")
    if tagged in MATRICES.values() and tagged != RGB_MATRIX:
        return int(tagged)
    return guess_matrix(frame.width, frame.height)


def matrix_code(name: str) -> int | None:
    """Return the ITU-T H.273 code of a matrix name; None for "".

    Raises:
        InvalidInput: unknown name.
    """
    if not name:
        return None
    if name not in MATRICES:
        raise InvalidInput(f"unknown matrix {name!r}; use one of {', '.join(MATRICES)}, or none for the clip's own.")
    return MATRICES[name]


def matrix_name(code: int) -> str:
    """Return the name of a code in `MATRICES`."""
    return next(name for name, known in MATRICES.items() if known == code)


def frame_range(props: Mapping[str, Any], family: vs.ColorFamily) -> int:
    """Return the range of a frame, `FULL` or `LIMITED`: its `_Range` or, without one, full for RGB, else limited.

    VapourSynth itself converts the older `_ColorRange` to `_Range`.

    Raises:
        InvalidInput: `_Range` is not an integer.
    """
    if "_Range" in props:
        return FULL if _number(props, "_Range", LIMITED) == FULL else LIMITED
    return FULL if family == vs.RGB else LIMITED


def read_colour(frame: vs.VideoFrame, matrix: int | None) -> Colour:
    """Return the colour description of a progressive frame.

    Args:
        frame: its properties decide; its size where the matrix is missing.
        matrix: code that overrides the frame's own; None to keep that. RGB ignores it.

    Raises:
        InvalidInput: the frame is interlaced, its matrix is unknown or does not fit its colour family, its chroma
            location is out of range, or one of these properties is not an integer.
    """
    props, family = frame.props, frame.format.color_family
    if _number(props, "_FieldBased", 0) != 0:
        raise InvalidInput(
            "the frame is interlaced (_FieldBased is not 0); deinterlace the clip first, as docs/cookbook.md shows, "
            "or clear the property if it is wrong: clip.std.SetFieldBased(0)."
        )
    tagged = next((_number(props, name, UNSPECIFIED) for name in MATRIX_PROPERTIES if name in props), UNSPECIFIED)
    if family == vs.RGB:
        code = RGB_MATRIX
    elif matrix is not None:
        code = matrix
    elif tagged == UNSPECIFIED or (family == vs.GRAY and tagged == RGB_MATRIX):
        code = guess_matrix(frame.width, frame.height)
    else:
        code = tagged
    if family == vs.YUV and code == RGB_MATRIX:
        raise InvalidInput(
            'the frame is YUV but its matrix is RGB (_Matrix = 0); pass matrix=, for example matrix="709".'
        )
    if code not in MATRICES.values():
        raise InvalidInput(
            f"the frame's matrix (_Matrix = {code}) is not one the resizer knows; "
            f"pass matrix= with one of {', '.join(name for name in MATRICES if name != 'rgb')}."
        )
    location = _number(props, "_ChromaLocation", LEFT)
    if not 0 <= location < LOCATIONS:
        raise InvalidInput(f"the frame's _ChromaLocation is {location}; it must be 0 to {LOCATIONS - 1}.")
    return Colour(
        matrix=code,
        range=frame_range(props, family),
        chroma_location=location if is_subsampled(frame.format) else LEFT,
        has_alpha="_Alpha" in props,
    )


def is_subsampled(video_format: vs.VideoFormat) -> bool:
    """Return whether chroma is stored at a lower resolution than luma."""
    return bool(video_format.subsampling_w or video_format.subsampling_h)


def _number(props: Mapping[str, Any], name: str, default: int) -> int:
    """Return an integer frame property, or the default if it is missing.

    Raises:
        InvalidInput: it is not one integer.
    """
    value = props.get(name, default)
    if not isinstance(value, int):
        raise InvalidInput(f"the frame property {name} is {value!r}; it must be one integer.")
    return int(value)
