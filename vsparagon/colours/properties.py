"""Keep frame properties correct."""

from __future__ import annotations

from fractions import Fraction

import vapoursynth as vs

from vsparagon.colours.description import Colour, is_subsampled

LARGEST_NUMBER = (1 << 63) - 1  # that a frame property can hold


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
