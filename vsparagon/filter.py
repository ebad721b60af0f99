"""Upscale a clip: the implementation of `core.paragon.Upscale`."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import vapoursynth as vs

from vsparagon.arguments import check_clip, gets_only_luma, matrix_of, pair_of, target_of
from vsparagon.chains import Chains, Conversion
from vsparagon.choice import make_choice, note_choice
from vsparagon.colours.formats import steps_of
from vsparagon.errors import check_integers
from vsparagon.log import vapoursynth_log
from vsparagon.lookup import find_model
from vsparagon.pipelines import open_pipeline
from vsparagon.tiles.choice import TileChoice

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
    chroma: str = "",
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
        chroma: what upscales the chroma of a YUV clip: "network" (default) or "resizer", VapourSynth's, with which
            networks compute less; networks for one plane get only luma in any case.

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
    check_integers(scale=scale, width=width, height=height, format=format)
    check_integers(device_id=device_id, memory_mb=memory_mb, num_streams=num_streams)
    tiles = TileChoice(size=pair_of("tilesize", tilesize), overlap=pair_of("overlap", overlap), memory_mb=memory_mb)
    network = find_model(variant=variant, scale=scale, profile=profile, model=model, cache=cache)
    only_luma = gets_only_luma(chroma, clip.format, network)
    target = target_of(clip, scale=network.scale, width=width, height=height, format_id=format)
    conversion = Conversion(clip, target, matrix=matrix_of(matrix, clip.format, target.format))
    choice = make_choice(
        network,
        backend=backend,
        device_id=int(device_id),
        precision=precision,
        num_streams=int(num_streams),
        threads=vs.core.num_threads,
        cache=cache,
    )
    log.info("running %s", choice)
    if only_luma:
        log.info("%s gets only luma; VapourSynth's resizer upscales the chroma", network.name)
    elif network.channels == 1 and clip.format.color_family == vs.RGB:
        log.info("%s takes one plane and gets red, green and blue separately", network.name)
    gray = only_luma or clip.format.color_family == vs.GRAY
    steps = steps_of(clip.format, conversion.first)
    pipeline = open_pipeline(choice, height=clip.height, width=clip.width, tiles=tiles, gray=gray, steps=steps)
    upscaled = Chains(conversion, pipeline, channels=network.channels, only_luma=only_luma).by_frame()
    note_choice(choice)
    return upscaled
