"""The ffmpeg encoders that can be chosen. The command line lists them, so this module does not import VapourSynth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Codec:
    """An encoder of ffmpeg.

    Attributes:
        quality: name of its ffmpeg option for constant quality.
        crf: default value of that option, visually close to the source.
        worst: largest value of that option; 0 is the best quality.
        preset: default preset.
        extra: options that are always given.
    """

    quality: str
    crf: float
    worst: int
    preset: str = ""
    extra: Mapping[str, str]


NVENC: Final = "_nvenc"  # what the names of encoders end in that need an NVIDIA GPU
_NVENC: Final = {"rc": "vbr", "b:v": "0"}
CODECS: Final[dict[str, Codec]] = {
    "libx264": Codec(quality="crf", crf=17, worst=51, preset="medium", extra={}),
    "libx265": Codec(quality="crf", crf=19, worst=51, preset="medium", extra={}),
    "libsvtav1": Codec(quality="crf", crf=24, worst=63, preset="6", extra={}),
    "h264_nvenc": Codec(quality="cq", crf=19, worst=51, preset="p6", extra=_NVENC),
    "hevc_nvenc": Codec(quality="cq", crf=21, worst=51, preset="p6", extra=_NVENC),
    "av1_nvenc": Codec(quality="cq", crf=26, worst=63, preset="p6", extra=_NVENC),
}
