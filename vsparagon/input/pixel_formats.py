"""The pixel formats of encoded and previewed video, by ffmpeg's and VapourSynth's names."""

from __future__ import annotations

from typing import Final

import vapoursynth as vs

# ffmpeg's name -> VapourSynth's format.
PIXEL_FORMATS: Final[dict[str, int]] = {
    f"yuv{subsampling}p{depth if depth > 8 else ''}": int(getattr(vs, f"YUV{subsampling}P{depth}"))
    for depth in (8, 10, 12)
    for subsampling in (420, 422, 444)
}


def pixel_format_candidates(source: vs.VideoFormat) -> list[str]:
    """Return names in `PIXEL_FORMATS` that suit a clip, the closest first.

    Clips of more than 8 bits get 10 bits. RGB becomes 4:4:4, and gray 4:2:0.
    """
    if source.color_family == vs.RGB or source.subsampling_w < source.subsampling_h:  # 4:4:0
        subsampling = "444"
    elif source.color_family == vs.GRAY:
        subsampling = "420"
    else:
        subsampling = {(0, 0): "444", (1, 0): "422"}.get((source.subsampling_w, source.subsampling_h), "420")
    depths = ["10", ""] if source.bits_per_sample > 8 else [""]
    return [f"yuv{s}p{d}" for d in depths for s in dict.fromkeys((subsampling, "420"))]
