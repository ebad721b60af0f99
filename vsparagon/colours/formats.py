"""VapourSynth's formats as layouts, and the format of a result."""

from __future__ import annotations

from dataclasses import dataclass

import vapoursynth as vs

from vsparagon.colours.description import FULL, LIMITED, MATRICES, RGB_MATRIX, Colour
from vsparagon.colours.layout import CONSTANT_MATRICES, Family, Layout

FAMILIES: dict[int, Family] = {vs.GRAY: "gray", vs.RGB: "rgb", vs.YUV: "yuv"}


@dataclass(frozen=True, kw_only=True)
class Target:
    """The format and size of the result.

    Attributes:
        format: of the result.
        width, height: of the result, in pixels.
    """

    format: vs.VideoFormat
    width: int
    height: int


def layouts(
    source: vs.VideoFormat, colour: Colour, target: vs.VideoFormat, wanted: Colour
) -> tuple[Layout, Layout] | None:
    """Return the layouts of a clip and of its result; None if one of their matrices needs VapourSynth's resizer.

    Args:
        source, colour: format and colour description of the clip.
        target, wanted: format and colour description of the result.
    """
    pair = (
        _layout(source, conversion_matrix(source, colour.matrix), colour),
        _layout(target, conversion_matrix(source, wanted.matrix), wanted),
    )
    return (pair[0], pair[1]) if pair[0] and pair[1] else None


def _layout(video_format: vs.VideoFormat, matrix: int, colour: Colour) -> Layout | None:
    """Return the layout of a format's planes; None if its matrix is not one of `CONSTANT_MATRICES`.

    Args:
        video_format: of the planes.
        matrix: from RGB to the planes, as a code of ITU-T H.273; RGB ignores it.
        colour: supplies range and chroma location.
    """
    family: Family = FAMILIES[video_format.color_family]
    is_float = video_format.sample_type == vs.FLOAT
    code = RGB_MATRIX if family == "rgb" else matrix
    if code not in CONSTANT_MATRICES:
        return None
    return Layout(
        family=family,
        bits=video_format.bits_per_sample,
        is_float=is_float,
        subsampling_w=video_format.subsampling_w,
        subsampling_h=video_format.subsampling_h,
        matrix=code,
        full=colour.range == FULL and not is_float,
        chroma_location=colour.chroma_location,
    )


def steps_of(video_format: vs.VideoFormat, colour: Colour) -> int:
    """Return the number of equal steps from black to white in the luma or RGB of frames; 0 if above 255."""
    if video_format.sample_type == vs.FLOAT or video_format.bits_per_sample > 8:
        return 0
    return 219 if colour.range == LIMITED else 255


def luma_format(video_format: vs.VideoFormat) -> vs.VideoFormat:
    """Return the GRAY format with the samples of a YUV or GRAY format."""
    return video_format.replace(color_family=vs.GRAY, subsampling_w=0, subsampling_h=0)


def conversion_matrix(source: vs.VideoFormat, matrix: int) -> int:
    """Return the ITU-T H.273 code of the matrix to give the resizer for a clip of this format.

    GRAY is luma alone, which every matrix leaves as it is; as the resizer cannot compute some of them without chroma,
    it gets BT.709.
    """
    return MATRICES["709"] if source.color_family == vs.GRAY else matrix
