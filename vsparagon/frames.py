"""Clips to and from float, by VapourSynth's own resizer, and what happens to frame properties on the way.

The way of a frame: source -> `to_rgb` -> network -> `from_float` -> `with_properties`, with `to_luma_and_chroma` first
where the network takes luma alone. Each is made for one `Colour`; a clip whose colour description changes gets one such
chain for each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import vapoursynth as vs
import vsutil

from vsparagon.colour import (
    FULL,
    LEFT,
    LIMITED,
    MATRICES,
    RGB_MATRIX,
    Colour,
    guess_matrix,
    is_subsampled,
    matrix_name,
)
from vsparagon.errors import InvalidInput, reason_of
from vsparagon.layout import CONSTANT_MATRICES, Family, Layout, Plane

AnyPlane = npt.NDArray[Any]
PROBE = 64  # side of the picture that conversions are tried on
LARGEST_NUMBER = (1 << 63) - 1  # in a frame property

FAMILIES: dict[int, Family] = {vs.GRAY: "gray", vs.RGB: "rgb", vs.YUV: "yuv"}


@dataclass(frozen=True, kw_only=True)
class Target:
    """What comes out.

    Attributes:
        format: of the result.
        width, height: of the result, in pixels.
    """

    format: vs.VideoFormat
    width: int
    height: int


def first_frame(clip: vs.VideoNode) -> vs.VideoFrame:
    """Return frame 0.

    Raises:
        InvalidInput: it cannot be made.
    """
    try:
        return clip.get_frame(0)
    except vs.Error as error:
        raise InvalidInput(f"the first frame cannot be made: {reason_of(error)}") from error


def planes(frame: vs.VideoFrame) -> list[AnyPlane]:
    """Return the planes of a frame as H,W arrays that share its memory; writable if the frame is."""
    return [np.asarray(frame[i]) for i in range(frame.format.num_planes)]


def layout_of(video_format: vs.VideoFormat, matrix: int, colour: Colour) -> Layout | None:
    """Return how the planes of a format lie under a colour description; None where a `Layout` cannot say it.

    Args:
        video_format: of the planes.
        matrix: from RGB to them.
        colour: gives range and chroma location.
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
        chroma_location=colour.chroma_location if is_subsampled(video_format) else LEFT,
    )


def layouts(
    source: vs.VideoFormat, colour: Colour, target: vs.VideoFormat, wanted: Colour
) -> tuple[Layout, Layout] | None:
    """Return the layouts of a clip and of its result; None where a matrix of theirs needs VapourSynth's resizer.

    Args:
        source, colour: the clip's.
        target, wanted: the result's.
    """
    pair = (
        layout_of(source, conversion_matrix(source, colour.matrix), colour),
        layout_of(target, conversion_matrix(source, wanted.matrix), wanted),
    )
    return (pair[0], pair[1]) if pair[0] and pair[1] else None


def to_rgb(clip: vs.VideoNode, colour: Colour) -> vs.VideoNode:
    """Return the clip as full-range RGBS, transfer and primaries untouched."""
    return _to_float(clip, colour, vs.RGBS)


def to_luma_and_chroma(clip: vs.VideoNode, colour: Colour) -> vs.VideoNode:
    """Return a YUV or GRAY clip as float, its planes of the size that they have."""
    return _to_float(clip, colour, clip.format.replace(sample_type=vs.FLOAT, bits_per_sample=32).id)


def _to_float(clip: vs.VideoNode, colour: Colour, format_id: int) -> vs.VideoNode:
    # The resizer believes a frame's properties before its own arguments.
    properties = {"_Range": colour.range, "_Matrix": conversion_matrix(clip.format, colour.matrix)}
    if is_subsampled(clip.format):
        properties["_ChromaLocation"] = colour.chroma_location
    # It would move what it takes for one field of a frame.
    described = clip.std.RemoveFrameProps(["_Field"]).std.SetFrameProps(**properties)
    return _without_needless(described, properties["_Matrix"]).resize.Spline36(format=format_id)


def _without_needless(clip: vs.VideoNode, matrix: int | None) -> vs.VideoNode:
    """Return a clip without what its conversion by a matrix does not need, where the resizer refuses rare values."""
    needless = matrix in CONSTANT_MATRICES
    return clip.std.RemoveFrameProps(["_Transfer", "_Primaries"]) if needless else clip


def described(frame: vs.VideoFrame, colour: Colour) -> tuple[Colour, str, str]:
    """Return all that decides how the resizer converts a frame of this colour description."""
    return colour, str(frame.props.get("_Transfer")), str(frame.props.get("_Primaries"))


def check_convertible(clip: vs.VideoNode, frame: vs.VideoFrame, colour: Colour, target: Target, wanted: Colour) -> None:
    """Raise InvalidInput where the resizer lacks something to convert a frame of the clip, there and back."""
    if layouts(clip.format, colour, target.format, wanted):
        return
    matrix = colour.matrix if wanted.matrix in CONSTANT_MATRICES else wanted.matrix
    says = {name: frame.props[name] for name in ("_Transfer", "_Primaries") if name in frame.props}
    probe = clip.std.BlankClip(width=PROBE, height=PROBE, length=1).std.SetFrameProps(**says)
    try:
        small = replace(target, width=PROBE, height=PROBE)
        from_float(to_rgb(probe, colour), clip.format, small, wanted).get_frame(0).close()
    except vs.Error as error:
        raise InvalidInput(
            f"the clip's colours cannot be converted ({reason_of(error)}): the matrix {matrix_name(matrix)} "
            "needs matching transfer and primaries; set the frame properties _Transfer and _Primaries, or pass "
            "another matrix=."
        ) from error


def float_function(
    enlarge: Callable[[list[Plane], list[Plane]], None], scale: int
) -> Callable[[vs.VideoFrame], vs.VideoFrame]:
    """Return the function from a frame of RGBS or GRAYS to its enlargement, a new frame of that format."""
    core = vs.core.core

    def enlarged(frame: vs.VideoFrame) -> vs.VideoFrame:
        result = core.create_video_frame(frame.format, frame.width * scale, frame.height * scale)
        enlarge(planes(frame), planes(result))
        # from_float needs these; everything else is copied from the source at the end.
        for name in ("_Matrix", "_Range", "_ChromaLocation", "_Transfer", "_Primaries"):
            if name in frame.props:
                result.props[name] = frame.props[name]
        return result

    return enlarged


def frame_function(
    enlarge: Callable[[list[AnyPlane], list[AnyPlane]], None], target: Target
) -> Callable[[vs.VideoFrame], vs.VideoFrame]:
    """Return the function from a frame to its enlargement, a new frame of the target's format and size."""
    core = vs.core.core

    def enlarged(frame: vs.VideoFrame) -> vs.VideoFrame:
        result = core.create_video_frame(target.format, target.width, target.height)
        enlarge(planes(frame), planes(result))
        return result

    return enlarged


def from_float(clip: vs.VideoNode, source: vs.VideoFormat, target: Target, colour: Colour) -> vs.VideoNode:
    """Return a float clip in the target's format and size, of this colour description, within legal code values.

    Args:
        clip: RGBS, or the source's colour family.
        source: the format that it was.
        target, colour: what comes out.
    """
    arguments: dict[str, Any] = {"range": colour.range}
    if target.format.color_family != vs.RGB:
        arguments["matrix"] = conversion_matrix(source, colour.matrix)
    if is_subsampled(target.format):
        arguments["chromaloc"] = colour.chroma_location
    clip = _without_needless(clip, arguments.get("matrix"))
    clip = clip.resize.Spline36(target.width, target.height, target.format.id, **arguments)
    if target.format.sample_type == vs.INTEGER and colour.range == LIMITED:
        clip = _limited(clip)
    return clip


def target_colour(colour: Colour, source: vs.VideoFormat, target: Target, matrix: int | None) -> Colour:
    """Return the colour description of the result.

    It is the source's where both have the same colour family. From RGB the matrix is `matrix` or what players would
    assume for the target's size, and the range limited; to RGB the range is full.
    """
    family = target.format.color_family
    if family == vs.RGB:
        code, full = RGB_MATRIX, colour.range if source.color_family == vs.RGB else FULL
    elif source.color_family == vs.RGB:
        code = guess_matrix(target.width, target.height) if matrix is None else matrix
        full = LIMITED
    else:
        code, full = colour.matrix, colour.range
    location = colour.chroma_location if is_subsampled(source) and is_subsampled(target.format) else LEFT
    return Colour(matrix=code, range=full, chroma_location=location, has_alpha=colour.has_alpha)


def with_properties(clip: vs.VideoNode, source: vs.VideoNode, colour: Colour) -> vs.VideoNode:
    """Return `clip` with the properties of `source`, corrected where the pictures differ.

    The colour description is always written: enlarging an untagged clip can change what players would assume. The
    sample aspect ratio follows a change of shape, and an alpha frame is enlarged.
    """
    result = clip.std.CopyFrameProps(source)
    properties = {"_Matrix": colour.matrix, "_Range": colour.range}
    if is_subsampled(clip.format):
        properties["_ChromaLocation"] = colour.chroma_location
    else:
        result = result.std.RemoveFrameProps(["_ChromaLocation"])
    result = result.std.SetFrameProps(**properties)
    stretch = Fraction(source.width * clip.height, source.height * clip.width)
    if stretch != 1:
        result = _stretched_pixels(result, stretch)
    if colour.has_alpha:
        alpha = source.std.PropToClip(prop="_Alpha").std.RemoveFrameProps(["_Field", "_FieldBased"])
        alpha = alpha.resize.Spline36(clip.width, clip.height)
        result = result.std.ClipToProp(alpha, prop="_Alpha")
    return result


def _stretched_pixels(clip: vs.VideoNode, stretch: Fraction) -> vs.VideoNode:
    """Multiply the sample aspect ratio, where there is one."""

    def call(n: int, f: vs.VideoFrame) -> vs.VideoFrame:  # noqa: ARG001  (VapourSynth names them)
        num, den = f.props.get("_SARNum"), f.props.get("_SARDen")
        if not (isinstance(num, int) and isinstance(den, int) and num and den):
            return f
        result = f.copy()
        aspect = Fraction(num, den) * stretch
        if max(aspect.numerator, aspect.denominator) > LARGEST_NUMBER:
            return f
        result.props["_SARNum"], result.props["_SARDen"] = aspect.numerator, aspect.denominator
        return result

    return clip.std.ModifyFrame([clip], call)


def conversion_matrix(source: vs.VideoFormat, matrix: int) -> int:
    # Grey is luma alone, the same by every matrix; some of them cannot be computed without chroma.
    return MATRICES["709"] if source.color_family == vs.GRAY else matrix


def _limited(clip: vs.VideoNode) -> vs.VideoNode:
    """Clamp integer planes to the code values of limited range: 16 to 235, chroma 16 to 240, in 8 bit."""
    depth = vsutil.get_depth(clip)
    low, high, high_chroma = (
        vsutil.scale_value(value, 8, depth, range_in=vsutil.Range.LIMITED, range=vsutil.Range.LIMITED)
        for value in (16, 235, 240)
    )
    chroma = high_chroma if clip.format.color_family == vs.YUV else high
    highs = [high, chroma, chroma][: clip.format.num_planes]
    return clip.std.Limiter(min=[low] * len(highs), max=highs)
