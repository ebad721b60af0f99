"""The ways to upscale a clip, from YUV420P8 to YUV420P8. Each takes the source, the scale and arguments of its own."""

from __future__ import annotations

from typing import Any

import vapoursynth as vs

BT709 = 1


def zimg(source: Any, scale: int, kernel: str) -> Any:
    """Upscale by VapourSynth's own resizer."""
    return getattr(source.resize, kernel)(source.width * scale, source.height * scale)


def zimg_float(source: Any, scale: int) -> Any:
    """Do the filter's conversions by the resizer, without a network: to RGBS, upscale by repeating pixels, and back."""
    rgb = source.resize.Spline36(format=vs.RGBS).resize.Point(source.width * scale, source.height * scale)
    return rgb.resize.Spline36(format=source.format.id, matrix=BT709)


def znedi3(source: Any, scale: int) -> Any:
    """Double by znedi3 as often as the scale (2 or 4) needs, and undo its shift of half a pixel by the resizer."""
    clip = source
    for _ in range(scale.bit_length() - 1):
        for _ in range(2):  # lines, then columns
            clip = clip.znedi3.nnedi3(field=0, dh=True).std.Transpose()
    shift = (scale - 1) / 2
    return clip.resize.Spline36(src_left=shift, src_top=shift)


def paragon(source: Any, scale: int, **arguments: Any) -> Any:
    """Upscale by this filter."""
    return source.paragon.Upscale(scale=scale, **arguments)


def paragon_float_rgb(source: Any, scale: int, **arguments: Any) -> Any:
    """Upscale by this filter in float RGB, with the resizer converting before and after it, as vs-mlrt needs it."""
    rgb = source.resize.Spline36(format=vs.RGBS).paragon.Upscale(scale=scale, **arguments)
    return rgb.resize.Spline36(format=source.format.id, matrix=BT709)


def paragon_without_network(source: Any, scale: int, **arguments: Any) -> Any:
    """Run this filter on OpenVINO, but skip the network, whose output stays undefined."""
    from benchmarking.idle import IdleOpenVINO
    from vsparagon.backends import RUNTIMES

    RUNTIMES["openvino"] = IdleOpenVINO()
    return paragon(source, scale, backend="openvino", **arguments)


def vs_mlrt(
    source: Any, scale: int, plugin: str, path: str, precision: str, streams: int, borders: list[int], shift: int
) -> Any:
    """Upscale by a filter of vs-mlrt. It takes only RGBS, so the resizer converts before and after it.

    Args:
        source, scale: the clip and its scale factor.
        plugin: "ov" or "ort".
        path: of the ONNX file.
        precision: "fp32", or "bf16" with "ov".
        streams: frames at once; 0 for one per thread.
        borders: pixels to add at the left, right, top and bottom, which the network needs.
        shift: result pixels that the network leaves out at the top and left.
    """
    core: Any = vs.core.core
    streams = streams or core.num_threads
    rgb = source.resize.Spline36(format=vs.RGBS)
    if any(borders):
        rgb = rgb.std.AddBorders(*borders)
    if plugin == "ov":
        hint = {"fp32": "f32", "bf16": "bf16"}[precision]
        config = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": str(core.num_threads)}
        large = core.ov.Model(rgb, path, num_streams=streams, config=lambda: config)
    else:
        large = core.ort.Model(rgb, path, num_streams=streams)
    left, top = (max(0, border * scale - shift) for border in (borders[0], borders[2]))
    large = large.std.CropAbs(source.width * scale, source.height * scale, left, top)
    return large.resize.Spline36(format=source.format.id, matrix=BT709)
