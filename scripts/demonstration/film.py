"""Make the demo's own clip: a camera moves over photographs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from vsparagon.encode.process import FedProcess
from vsparagon.errors import ParagonError
from vsparagon.ffmpeg import colour_arguments

ENCODER: Final = ("-c:v", "libx264", "-preset", "fast", "-crf", "16")
BT709: Final = {"_Matrix": 1, "_Primaries": 1, "_Transfer": 1, "_Range": 0}
FILTERS: Final = (
    "scale=out_color_matrix=bt709:out_range=tv:flags=bicubic+accurate_rnd+full_chroma_int,format=yuv420p,"
    "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"
)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A camera movement over a photograph.

    Attributes:
        photograph: name of a function in `skimage.data`.
        start, end: first and last view: left, top and width in the photograph's pixels.
    """

    photograph: str
    start: tuple[float, float, float]
    end: tuple[float, float, float]


# Photographs that are part of scikit-image's wheel; others would have to be downloaded. No view enlarges one by more
# than 7 %, so the clip is about as sharp as a clip of its size can be.
SCENES: Final = (
    Scene(photograph="rocket", start=(0, 66, 640), end=(0, 14.5, 640)),
    Scene(photograph="stereo_motorcycle", start=(0, 55, 741), end=(74, 88.5, 640)),
    Scene(photograph="coffee", start=(0, 8, 600), end=(0, 54.5, 600)),
)


def make_clip(path: Path, ffmpeg: str, *, width: int = 640, height: int = 360, frames: int = 40) -> None:
    """Film the scenes one after the other, as H.264 in BT.709 with 25 frames per second.

    Args:
        path: file to write.
        ffmpeg: path of ffmpeg.
        width, height: of the clip in pixels.
        frames: number of frames per scene.

    Raises:
        ParagonError: scikit-image is missing, or ffmpeg failed.
    """
    try:
        from skimage import data
    except ImportError:
        raise ParagonError("scikit-image is missing; run `pip install scikit-image`, or give --clip FILE") from None
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", "25", "-i", "-"]
    coded = ["-vf", FILTERS, *ENCODER, *colour_arguments(BT709)]
    with FedProcess([ffmpeg, "-loglevel", "error", "-y", *raw, *coded, str(path)]) as process:
        for scene in SCENES:
            found = getattr(data, scene.photograph)()
            photograph = Image.fromarray(found[0] if isinstance(found, tuple) else found)
            for position in np.linspace(0, 1, frames):
                ways = zip(scene.start, scene.end, strict=True)
                left, top, across = (start + (end - start) * float(position) for start, end in ways)
                view = (left, top, left + across, top + across * height / width)
                # Lanczos with a fractional box moves the camera by less than a pixel, and without aliasing.
                process.write(photograph.resize((width, height), Image.Resampling.LANCZOS, box=view).tobytes())
        process.finish()
