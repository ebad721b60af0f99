"""Convert clips to and from float with VapourSynth's resizer, and keep frame properties correct.

The steps: source -> `to_rgb` -> network -> `from_float` -> `with_properties`. A network that takes luma alone has
`to_luma_and_chroma` as its first step. Every step is for one `Colour`; if a clip's colour description changes, the
filter builds one chain for each.
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

from vsparagon.colours.description import (
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
from vsparagon.colours.layout import CONSTANT_MATRICES, Family, Layout, Plane
from vsparagon.errors import InvalidInput, reason_of

AnyPlane = npt.NDArray[Any]
PROBE = 64  # side of the picture on which conversions are tested, in pixels
LARGEST_NUMBER = (1 << 63) - 1  # that a frame property can hold

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


def first_frame(clip: vs.VideoNode) -> vs.VideoFrame:
    """Return frame 0.

    Raises:
        InvalidInput: the frame cannot be produced.
    """
    try:
        return clip.get_frame(0)
    except vs.Error as error:
        raise InvalidInput(f"the first frame cannot be made: {reason_of(error)}") from error


def planes(frame: vs.VideoFrame) -> list[AnyPlane]:
    """Return the planes of a frame as H,W arrays that share its memory; writable if the frame is."""
    return [np.asarray(frame[i]) for i in range(frame.format.num_planes)]


def layout_of(video_format: vs.VideoFormat, matrix: int, colour: Colour) -> Layout | None:
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


def layouts(
    source: vs.VideoFormat, colour: Colour, target: vs.VideoFormat, wanted: Colour
) -> tuple[Layout, Layout] | None:
    """Return the layouts of a clip and of its result; None if one of their matrices needs VapourSynth's resizer.

    Args:
        source, colour: format and colour description of the clip.
        target, wanted: format and colour description of the result.
    """
    pair = (
        layout_of(source, conversion_matrix(source, colour.matrix), colour),
        layout_of(target, conversion_matrix(source, wanted.matrix), wanted),
    )
    return (pair[0], pair[1]) if pair[0] and pair[1] else None


def to_rgb(clip: vs.VideoNode, colour: Colour) -> vs.VideoNode:
    """Return the clip as RGBS of nominal range 0..1; transfer and primaries are not converted."""
    return _to_float(clip, colour, vs.RGBS)


def to_luma_and_chroma(clip: vs.VideoNode, colour: Colour) -> vs.VideoNode:
    """Return a YUV or GRAY clip as float32 of the same subsampling."""
    return _to_float(clip, colour, clip.format.replace(sample_type=vs.FLOAT, bits_per_sample=32).id)


def _to_float(clip: vs.VideoNode, colour: Colour, format_id: int) -> vs.VideoNode:
    # The resizer gives frame properties precedence over its arguments.
    properties = {
        "_Range": colour.range,
        "_Matrix": conversion_matrix(clip.format, colour.matrix),
        "_ChromaLocation": colour.chroma_location,
    }
    # Without _Field: the resizer would shift a frame that it takes for a single field.
    described = clip.std.RemoveFrameProps(["_Field"]).std.SetFrameProps(**properties)
    return _without_needless(described, properties["_Matrix"]).resize.Spline36(format=format_id)


def _without_needless(clip: vs.VideoNode, matrix: int | None) -> vs.VideoNode:
    """Return a clip without `_Transfer` and `_Primaries` if the matrix does not need them: the resizer rejects some."""
    if matrix not in CONSTANT_MATRICES:
        return clip
    # One at a time: given several names, RemoveFrameProps reads memory that it has freed (R81).
    return clip.std.RemoveFrameProps("_Transfer").std.RemoveFrameProps("_Primaries")


def described(frame: vs.VideoFrame, colour: Colour) -> tuple[Colour, str, str]:
    """Return everything about a frame that decides how the resizer converts it, as a hashable key."""
    return colour, str(frame.props.get("_Transfer")), str(frame.props.get("_Primaries"))


def check_convertible(clip: vs.VideoNode, frame: vs.VideoFrame, colour: Colour, target: Target, wanted: Colour) -> None:
    """Raise InvalidInput if the resizer cannot convert a frame of the clip to RGB and its result to the target.

    Args:
        clip: gives the format.
        frame: of the clip, gives `_Transfer` and `_Primaries`.
        colour: colour description of the frame.
        target: format of the result.
        wanted: colour description of the result.
    """
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
    """Return a function that upscales an RGBS or GRAYS frame to a new frame of the same format.

    Args:
        enlarge: takes the planes of the source, H,W, and those of the result, scale*H,scale*W, which it writes.
        scale: enlargement of both sides.
    """
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
    """Return a function that upscales a frame to a new frame of the target's format and size.

    Args:
        enlarge: takes the planes of the source and those of the result, which it writes.
        target: format and size of the result.
    """
    core = vs.core.core

    def enlarged(frame: vs.VideoFrame) -> vs.VideoFrame:
        result = core.create_video_frame(target.format, target.width, target.height)
        enlarge(planes(frame), planes(result))
        return result

    return enlarged


def from_float(clip: vs.VideoNode, source: vs.VideoFormat, target: Target, colour: Colour) -> vs.VideoNode:
    """Return a float clip in the target's format and size; integers are clamped to legal code values.

    Args:
        clip: RGBS, or float of the source's colour family.
        source: the format of the clip before its conversion to float.
        target: format and size of the result.
        colour: colour description of the result.
    """
    arguments: dict[str, Any] = {"range": colour.range, "chromaloc": colour.chroma_location}
    if target.format.color_family != vs.RGB:
        arguments["matrix"] = conversion_matrix(source, colour.matrix)
    clip = _without_needless(clip, arguments.get("matrix"))
    clip = clip.resize.Spline36(target.width, target.height, target.format.id, **arguments)
    if target.format.sample_type == vs.INTEGER and colour.range == LIMITED:
        clip = _limited(clip)
    return clip


def target_colour(colour: Colour, source: vs.VideoFormat, target: Target, matrix: int | None) -> Colour:
    """Return the colour description of the result.

    YUV and GRAY sources keep matrix and range unless the target is RGB, which gets full range; RGB to RGB keeps the
    range. From RGB to YUV or GRAY, the range is limited, and the matrix is `matrix` or, if that is None, what players
    assume for the target's size. The chroma location is kept if both are subsampled; otherwise it is `LEFT`.
    """
    family = target.format.color_family
    if family == vs.RGB:
        code, full = RGB_MATRIX, colour.range if source.color_family == vs.RGB else FULL
    elif source.color_family == vs.RGB:
        code = guess_matrix(target.width, target.height) if matrix is None else matrix
        full = LIMITED
    else:
        code, full = colour.matrix, colour.range
    location = colour.chroma_location if is_subsampled(target.format) else LEFT
    return Colour(matrix=code, range=full, chroma_location=location, has_alpha=colour.has_alpha)


def with_properties(clip: vs.VideoNode, source: vs.VideoNode, colour: Colour) -> vs.VideoNode:
    """Return `clip` with the frame properties of `source`, corrected where the pictures differ.

    The colour description is always written, because what players assume for an untagged clip depends on its size. The
    sample aspect ratio is adapted if the aspect ratio of the frame changed, and an alpha frame is resized.
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
        alpha = source.std.PropToClip(prop="_Alpha").std.RemoveFrameProps("_Field").std.RemoveFrameProps("_FieldBased")
        alpha = alpha.resize.Spline36(clip.width, clip.height)
        result = result.std.ClipToProp(alpha, prop="_Alpha")
    return result


def _stretched_pixels(clip: vs.VideoNode, stretch: Fraction) -> vs.VideoNode:
    """Multiply the sample aspect ratio of frames that have one by `stretch`."""

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
    # Code of the matrix to give the resizer, after ITU-T H.273. GRAY is luma alone, which every matrix leaves as it is,
    # and the resizer cannot compute some of them without chroma: take BT.709.
    return MATRICES["709"] if source.color_family == vs.GRAY else matrix


def _limited(clip: vs.VideoNode) -> vs.VideoNode:
    """Clamp integer planes to the code values of limited range: in 8 bit, 16 to 235, and chroma 16 to 240."""
    depth = vsutil.get_depth(clip)
    low, high, high_chroma = (
        vsutil.scale_value(value, 8, depth, range_in=vsutil.Range.LIMITED, range=vsutil.Range.LIMITED)
        for value in (16, 235, 240)
    )
    chroma = high_chroma if clip.format.color_family == vs.YUV else high
    highs = [high, chroma, chroma][: clip.format.num_planes]
    return clip.std.Limiter(min=[low] * len(highs), max=highs)
