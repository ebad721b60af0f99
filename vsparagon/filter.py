"""Upscale a clip: the implementation of `core.paragon.Upscale`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache as remembered
from typing import TYPE_CHECKING

import vapoursynth as vs

from vsparagon.arguments import check_clip, pair_of, target_of
from vsparagon.choice import make_choice, note_choice
from vsparagon.colours.description import RGB_MATRIX, Colour, matrix_code, matrix_name, read_colour
from vsparagon.errors import InvalidInput, ParagonError, check_integers
from vsparagon.frames import (
    Target,
    check_convertible,
    described,
    first_frame,
    float_function,
    frame_function,
    from_float,
    layouts,
    target_colour,
    to_luma_and_chroma,
    to_rgb,
    with_properties,
)
from vsparagon.log import vapoursynth_log
from vsparagon.lookup import find_model
from vsparagon.pipelines import AnyPipeline, open_pipeline
from vsparagon.pipelines.picture import PicturePipeline
from vsparagon.stream import map_frames, passing
from vsparagon.tiles.choice import TileChoice

if TYPE_CHECKING:
    from vsparagon.pipelines.frame import FramePipeline

log = logging.getLogger(__name__)


@vapoursynth_log()
def upscale(
    clip: vs.VideoNode,
    variant: str = "",
    scale: int = 0,
    profile: str = "",
    model: str = "",
    backend: str = "auto",
    device_id: int = 0,
    precision: str = "auto",
    width: int = 0,
    height: int = 0,
    format: int = 0,  # noqa: A002  (the field's word, and the argument's name in core.paragon.Upscale)
    matrix: str = "",
    tilesize: int | Sequence[int] = (),
    overlap: int | Sequence[int] = (),
    memory_mb: int = 0,
    num_streams: int = 0,
    cache: str = "",
) -> vs.VideoNode:
    """Upscale a clip with a neural network.

    The same as `core.paragon.Upscale`. 0, "" and an empty sequence select the default.

    Args:
        clip: progressive, of constant format and size; 8 to 16-bit integer, half or float; GRAY, RGB or YUV, its
            chroma subsampled up to four times in each direction.
        variant: of the bundled network: "nano" (default), "micro", …
        scale: enlargement of both sides: 2 (default), 3 or 4 for bundled weights; a model file determines its own.
        profile: what the bundled network was trained on: "clean" (default) or "compressed" video.
        model: path of a model file to use instead of a bundled network; variant and profile must then be left out.
        backend: "auto" or a name in `vsparagon.backends.RUNTIMES`.
        device_id: of a GPU, as CUDA numbers them.
        precision: "auto", "fp32", "fp16", "bf16" or "int8".
        width, height: size of the result in pixels instead of `scale` times the clip's, up to 65,536 each and 2^28
            pixels in all; if only one is given, the other keeps the aspect ratio.
        format: of the result instead of the clip's; a preset or registered format id such as `vs.YUV444P16`.
        matrix: of the clip, overriding its frame properties; for an RGB clip, that of a YUV or GRAY result. The names
            are those of VapourSynth's resizer: "709", "170m", "2020ncl", …
        tilesize: width and height, or one number for both, of the tiles that a frame is computed in, in source pixels;
            at least 64.
        overlap: the same for the least overlap of neighbouring tiles; at most half of `tilesize`, which it needs.
        memory_mb: memory limit for the tiles in flight, in MiB; not together with `tilesize`.
        num_streams: frames computed at once, up to 64.
        cache: folder for compiled networks.

    Returns:
        A clip of the same length and frame rate that keeps the frame properties. A frame that cannot be used, for
        example an interlaced one, raises `vapoursynth.Error` when it is requested.

    Raises:
        InvalidInput: the clip, its first frame or an argument cannot be used as given.
        ModelError: no weights are bundled for these arguments, or the model file cannot be used.
        BackendUnavailable: the backend is not installed, or the device cannot be used.
        BackendFailure: the backend refused the network.
    """
    check_clip(clip)
    check_integers(
        scale=scale, width=width, height=height, device_id=device_id, memory_mb=memory_mb, num_streams=num_streams
    )
    tiles = TileChoice(size=pair_of("tilesize", tilesize), overlap=pair_of("overlap", overlap), memory_mb=memory_mb)
    network = find_model(variant=variant, scale=scale, profile=profile, model=model, cache=cache)
    target = target_of(clip, scale=network.scale, width=width, height=height, format_id=format)
    matrix_given = matrix_code(matrix)
    if matrix_given == RGB_MATRIX and {clip.format.color_family, target.format.color_family} != {vs.RGB}:
        raise InvalidInput('matrix is "rgb", which is not the matrix of a YUV or GRAY clip; give one such as "709".')
    with first_frame(clip) as frame:
        first = read_colour(frame, matrix_given)
        converted = {described(frame, first)}
        check_convertible(clip, frame, first, target, target_colour(first, clip.format, target, matrix_given))
    choice = make_choice(
        network,
        backend=backend,
        device_id=device_id,
        precision=precision,
        num_streams=num_streams,
        threads=vs.core.num_threads,
        cache=cache,
    )
    log.info("running %s", choice)
    if network.channels == 1:
        parts = "red, green and blue separately" if clip.format.color_family == vs.RGB else "only luma"
        log.info("%s takes one plane and gets %s", network.name, parts)
    pipeline = open_pipeline(choice, height=clip.height, width=clip.width, tiles=tiles)

    @remembered
    @vapoursynth_log()  # a new colour description may appear mid-film and need an engine, which takes minutes to build
    def chain(colour: Colour) -> vs.VideoNode:
        """Return the whole clip, upscaled as if every frame had this colour description."""
        wanted = target_colour(colour, clip.format, target, matrix_given)
        if network.channels == 1 and clip.format.color_family != vs.RGB:
            result = _luma_alone(clip, colour, pipeline, target, wanted)
        elif network.channels == 1 or isinstance(pipeline, PicturePipeline):
            result = _by_resizer(clip, colour, pipeline, target, wanted)
        else:
            result = _on_device(clip, colour, pipeline, target, wanted)
        return with_properties(result, clip, wanted)

    def choose(n: int, f: vs.VideoFrame) -> vs.VideoNode:
        try:
            colour = read_colour(f, matrix_given)
            if colour.has_alpha and not first.has_alpha:
                raise InvalidInput("the frame has alpha (_Alpha) but the clip's first frame has none.")
            if (kind := described(f, colour)) not in converted:
                check_convertible(clip, f, colour, target, target_colour(colour, clip.format, target, matrix_given))
                converted.add(kind)
            return chain(colour)
        except (ParagonError, vs.Error) as error:
            return vs.core.paragon.internal_fail(chain(first), f"paragon.Upscale: frame {n}: {error}")

    enlarged = chain(first)
    note_choice(choice)
    return enlarged.std.FrameEval(choose, prop_src=[clip], clip_src=[enlarged])


def _by_resizer(
    clip: vs.VideoNode, colour: Colour, pipeline: AnyPipeline, target: Target, wanted: Colour
) -> vs.VideoNode:
    """Upscale a clip whose colours VapourSynth's resizer converts before and after the network."""
    return from_float(_enlarged(to_rgb(clip, colour), pipeline), clip.format, target, wanted)


def _luma_alone(
    clip: vs.VideoNode, colour: Colour, pipeline: AnyPipeline, target: Target, wanted: Colour
) -> vs.VideoNode:
    """Upscale luma with a network that takes one plane, and chroma, if there is any, with VapourSynth's resizer."""
    source = to_luma_and_chroma(clip, colour)
    result = _enlarged(source.std.ShufflePlanes(0, vs.GRAY), pipeline)
    if clip.format.color_family == vs.YUV:
        chroma = source.resize.Spline36(result.width, result.height)
        result = vs.core.std.ShufflePlanes([result, chroma, chroma], [0, 1, 2], vs.YUV)
    return from_float(result, clip.format, target, wanted)


def _enlarged(clip: vs.VideoNode, pipeline: AnyPipeline) -> vs.VideoNode:
    """Return an RGBS or GRAYS clip upscaled by the network, without colour conversions."""
    if not isinstance(pipeline, PicturePipeline):
        pipeline.plain_session()  # open it now rather than at the first frame
    clip = passing(clip)
    blank = clip.std.BlankClip(width=clip.width * pipeline.scale, height=clip.height * pipeline.scale, keep=True)
    return map_frames(clip, blank, float_function(pipeline.enlarge, pipeline.scale), pipeline.in_flight)


def _on_device(
    clip: vs.VideoNode, colour: Colour, pipeline: FramePipeline, target: Target, wanted: Colour
) -> vs.VideoNode:
    """Upscale a clip whose colours the device converts; fall back to `_by_resizer` if it cannot."""
    same_size = (target.width, target.height) == (clip.width * pipeline.scale, clip.height * pipeline.scale)
    known = layouts(clip.format, colour, target.format, wanted)
    if not (same_size and known):
        why = "a size of your own" if known else f"the matrix {matrix_name(colour.matrix)}"
        log.info("colours are converted by VapourSynth's resizer on the CPU, which %s needs", why)
        return _by_resizer(clip, colour, pipeline, target, wanted)
    session = pipeline.session(*known)
    blank = clip.std.BlankClip(width=target.width, height=target.height, format=target.format.id, keep=True)
    return map_frames(clip, blank, frame_function(session.enlarge, target), pipeline.in_flight)
