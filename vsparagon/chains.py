"""The nodes that make the upscaled clip: a chain of them for each colour description that the clip's frames have."""

from __future__ import annotations

import logging
from dataclasses import replace

import vapoursynth as vs

from vsparagon.colours.conversion import (
    check_convertible,
    conversion_key,
    described,
    target_colour,
    to_gray,
    to_rgb,
    to_target,
)
from vsparagon.colours.description import Colour, matrix_name, read_colour
from vsparagon.colours.formats import Target, layouts, luma_format
from vsparagon.colours.properties import with_properties
from vsparagon.errors import InvalidInput, OutOfDeviceMemory, ParagonError
from vsparagon.frames import first_frame, frame_function
from vsparagon.log import vapoursynth_log
from vsparagon.pipelines import AnyPipeline
from vsparagon.stream import map_frames, without_cache

log = logging.getLogger(__name__)

# Frame properties that decide how the resizer converts a frame. The others are copied from the source at the end.
CONVERTED_BY = ("_Matrix", "_Range", "_ChromaLocation", "_Transfer", "_Primaries")


class Conversion:
    """The colour descriptions of a clip's frames, and those that the result is to have.

    Args:
        clip: the source.
        target: format and size of the result.
        matrix: code of the clip's matrix, overriding its frame properties, or of the result's if the clip is RGB; or
            None.

    Attributes:
        clip, target: as given.
        first: colour description of the clip's first frame.

    Raises:
        InvalidInput: the first frame cannot be made or converted.
    """

    def __init__(self, clip: vs.VideoNode, target: Target, *, matrix: int | None) -> None:
        self.clip, self.target, self._matrix = clip, target, matrix
        self._checked: set[tuple[Colour, str, str]] = set()
        with first_frame(clip) as frame:
            self.first = read_colour(frame, matrix)
            self._check(frame, self.first)
            placeholder = frame.props.get("_DurationNum") == 0
        if placeholder:  # mpv gives black frames while it evaluates a script; they must not be shown later
            vs.core.clear_cache()

    def colour_of(self, frame: vs.VideoFrame) -> Colour:
        """Return the colour description of one of the clip's frames.

        Raises:
            InvalidInput: the frame cannot be converted, or has alpha although the first frame has none.
        """
        colour = read_colour(frame, self._matrix)
        if colour.has_alpha and not self.first.has_alpha:
            raise InvalidInput("the frame has alpha (_Alpha) but the clip's first frame has none.")
        self._check(frame, colour)
        return colour

    def wanted(self, colour: Colour) -> Colour:
        """Return the colour description of the result for frames of the given one."""
        return target_colour(colour, self.clip.format, self.target, self._matrix)

    def _check(self, frame: vs.VideoFrame, colour: Colour) -> None:
        kind = conversion_key(frame, colour)
        if kind not in self._checked:
            check_convertible(self.clip, frame, colour, self.target, self.wanted(colour))
            self._checked.add(kind)


class Chains:
    """Upscales a clip with an opened network.

    Args:
        conversion: of the clip.
        pipeline: the network, opened for the clip's size; for single planes if it gets only luma or the clip is GRAY.
        channels: of the network: 3 for red, green and blue, or 1.
        only_luma: whether the network upscales the luma of a YUV clip, and VapourSynth's resizer the chroma.
    """

    def __init__(self, conversion: Conversion, pipeline: AnyPipeline, *, channels: int, only_luma: bool) -> None:
        self._conversion, self._pipeline, self._channels = conversion, pipeline, channels
        self._clip, self._target, self._only_luma = conversion.clip, conversion.target, only_luma
        self._made: dict[Colour, vs.VideoNode | ParagonError] = {}

    def by_frame(self) -> vs.VideoNode:
        """Return the upscaled clip: each frame from the chain for its own colour description.

        Raises:
            InvalidInput, ModelError, BackendUnavailable, BackendFailure: the chain of the first frame cannot be made.
        """
        first = self.of(self._conversion.first)

        def choose(n: int, f: vs.VideoFrame) -> vs.VideoNode:
            try:
                return self.of(self._conversion.colour_of(f))
            except (ParagonError, vs.Error) as error:
                return vs.core.paragon.internal_fail(first, f"paragon.Upscale: frame {n}: {error}")

        return first.std.FrameEval(choose, prop_src=[self._clip], clip_src=[first])

    def of(self, colour: Colour) -> vs.VideoNode:
        """Return the whole clip, upscaled as if every frame had this colour description.

        Raises:
            InvalidInput, ModelError, BackendUnavailable, BackendFailure: the network cannot be run.
        """
        if colour not in self._made:
            try:
                # If it appears mid-film, it may need an engine of its own, which takes minutes to build.
                with vapoursynth_log():
                    self._made[colour] = self._make(colour, self._conversion.wanted(colour))
            except OutOfDeviceMemory:
                raise
            except ParagonError as error:
                # It would come again: not every frame is to take the time to meet it. What is kept is a copy, because
                # the traceback would keep alive whatever was allocated.
                self._made[colour] = type(error)(*error.args)
                raise
        made = self._made[colour]
        if isinstance(made, ParagonError):
            raise made.with_traceback(None)
        return made

    def _make(self, colour: Colour, wanted: Colour) -> vs.VideoNode:
        upscaled = self._with_luma if self._only_luma else self._whole
        return with_properties(upscaled(self._clip, self._target, colour, wanted), self._clip, wanted)

    def _whole(self, clip: vs.VideoNode, target: Target, colour: Colour, wanted: Colour) -> vs.VideoNode:
        """Upscale all planes with the network, with colours converted on the device if that can be."""
        result = self._on_device(clip, target, colour, wanted)
        if result is None:
            in_float = to_gray if clip.format.color_family == vs.GRAY else to_rgb
            result = to_target(self._enlarged(in_float(clip, colour)), clip.format, target, wanted)
        return result

    def _with_luma(self, clip: vs.VideoNode, target: Target, colour: Colour, wanted: Colour) -> vs.VideoNode:
        """Upscale the luma of a YUV clip with the network, and chroma with VapourSynth's resizer."""
        if target.format.color_family == vs.RGB:
            scale, float_yuv = self._pipeline.scale, vs.core.get_video_format(vs.YUV444PS)
            enlarged = Target(format=float_yuv, width=clip.width * scale, height=clip.height * scale)
            result = self._with_luma(clip, enlarged, colour, colour).std.CopyFrameProps(clip)
            return to_target(described(result, colour), clip.format, target, wanted)
        luma_target = replace(target, format=luma_format(target.format))
        luma = self._whole(clip.std.ShufflePlanes(0, vs.GRAY), luma_target, colour, wanted)
        if target.format.color_family == vs.GRAY:
            return luma
        chroma = without_cache(to_target(described(clip, colour), clip.format, target, wanted))
        return vs.core.std.ShufflePlanes([luma, chroma, chroma], [0, 1, 2], vs.YUV)

    def _enlarged(self, clip: vs.VideoNode) -> vs.VideoNode:
        """Upscale an RGBS or GRAYS clip with the network alone."""
        scale, clip = self._pipeline.scale, without_cache(clip)
        blank = clip.std.BlankClip(width=clip.width * scale, height=clip.height * scale, keep=True)
        function = frame_function(self._pipeline.open_pictures(), blank, keep=CONVERTED_BY)
        return map_frames(clip, blank, function, self._pipeline.in_flight)

    def _on_device(self, clip: vs.VideoNode, target: Target, colour: Colour, wanted: Colour) -> vs.VideoNode | None:
        """Upscale frames in their own format, with their colours converted on the device; None if that cannot be."""
        pipeline = self._pipeline
        if self._channels == 1 or not pipeline.converts_colours:
            return None
        known = layouts(clip.format, colour, target.format, wanted)
        if not known or (target.width, target.height) != (clip.width * pipeline.scale, clip.height * pipeline.scale):
            why = "a size of your own" if known else f"the matrix {matrix_name(colour.matrix)}"
            log.info("colours are converted by VapourSynth's resizer on the CPU, which %s needs", why)
            return None
        blank = clip.std.BlankClip(width=target.width, height=target.height, format=target.format.id, keep=True)
        return map_frames(clip, blank, frame_function(pipeline.open_frames(*known), blank), pipeline.in_flight)
