"""Convert clips to and from float with VapourSynth's resizer. Every step is for frames of one `Colour`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import vapoursynth as vs
import vsutil

from vsparagon.colours.description import (
    FULL,
    LEFT,
    LIMITED,
    RGB_MATRIX,
    Colour,
    guess_matrix,
    is_subsampled,
    matrix_name,
)
from vsparagon.colours.formats import Target, conversion_matrix, layouts
from vsparagon.colours.layout import CONSTANT_MATRICES
from vsparagon.errors import InvalidInput, reason_of

PROBE = 64  # side of the picture on which conversions are tested, in pixels


def to_rgb(clip: vs.VideoNode, colour: Colour) -> vs.VideoNode:
    """Return the clip as RGBS of nominal range 0..1; transfer and primaries are not converted."""
    return described(clip, colour).resize.Spline36(format=vs.RGBS)


def to_gray(clip: vs.VideoNode, colour: Colour) -> vs.VideoNode:
    """Return a GRAY clip as GRAYS of nominal range 0..1."""
    return described(clip, colour).resize.Spline36(format=vs.GRAYS)


def described(clip: vs.VideoNode, colour: Colour) -> vs.VideoNode:
    """Return the clip with the frame properties that make the resizer see these colours."""
    # The resizer gives frame properties precedence over its arguments.
    properties = {
        "_Range": colour.range,
        "_Matrix": conversion_matrix(clip.format, colour.matrix),
        "_ChromaLocation": colour.chroma_location,
    }
    # Without _Field: the resizer would shift a frame that it takes for a single field.
    described = clip.std.RemoveFrameProps(["_Field"]).std.SetFrameProps(**properties)
    return _without_needless(described, properties["_Matrix"])


def _without_needless(clip: vs.VideoNode, matrix: int | None) -> vs.VideoNode:
    """Return a clip without `_Transfer` and `_Primaries` if the matrix does not need them: the resizer rejects some."""
    if matrix not in CONSTANT_MATRICES:
        return clip
    # One at a time: given several names, RemoveFrameProps reads memory that it has freed (R81).
    return clip.std.RemoveFrameProps("_Transfer").std.RemoveFrameProps("_Primaries")


def to_target(clip: vs.VideoNode, source: vs.VideoFormat, target: Target, colour: Colour) -> vs.VideoNode:
    """Return a clip in the target's format and size; integers are clamped to legal code values.

    Args:
        clip: its frame properties describe its colours.
        source: the format of the clip that it was made of.
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


def conversion_key(frame: vs.VideoFrame, colour: Colour) -> tuple[Colour, str, str]:
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
        to_target(to_rgb(probe, colour), clip.format, small, wanted).get_frame(0).close()
    except vs.Error as error:
        raise InvalidInput(
            f"the clip's colours cannot be converted ({reason_of(error)}): the matrix {matrix_name(matrix)} "
            "needs matching transfer and primaries; set the frame properties _Transfer and _Primaries, or pass "
            "another matrix=."
        ) from error
