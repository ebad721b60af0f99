"""The encoders of ffmpeg that are used. The command line lists them, so VapourSynth is not imported here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Codec:
    """An encoder of ffmpeg.

    Attributes:
        quality: its option for constant quality.
        crf: the default for it: visually close to the source.
        worst: its largest number.
        preset: the default; "" leaves it to the encoder.
        extra: options that are always given.
    """

    quality: str
    crf: float
    worst: int
    preset: str = ""
    extra: Mapping[str, str]


_NVENC: Final = {"rc": "vbr", "b:v": "0"}
CODECS: Final[dict[str, Codec]] = {
    "libx264": Codec(quality="crf", crf=17, worst=51, preset="medium", extra={}),
    "libx265": Codec(quality="crf", crf=19, worst=51, preset="medium", extra={}),
    "libsvtav1": Codec(quality="crf", crf=24, worst=63, preset="6", extra={}),
    "h264_nvenc": Codec(quality="cq", crf=19, worst=51, preset="p6", extra=_NVENC),
    "hevc_nvenc": Codec(quality="cq", crf=21, worst=51, preset="p6", extra=_NVENC),
    "av1_nvenc": Codec(quality="cq", crf=26, worst=63, preset="p6", extra=_NVENC),
}
