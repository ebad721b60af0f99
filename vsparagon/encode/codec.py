"""Choose the encoder and the pixel format, and give ffmpeg's options for them."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

import vapoursynth as vs

from vsparagon.device.gpus import gpus
from vsparagon.encode.encoders import CODECS, NVENC
from vsparagon.errors import InvalidInput, ParagonError
from vsparagon.ffmpeg import answer_of, find_ffmpegs
from vsparagon.input.job import Encoding
from vsparagon.input.pixel_formats import PIXEL_FORMATS, pixel_format_candidates

SEMIPLANAR: Final = {"yuv420p10": "p010le"}  # the same samples in the layout that NVIDIA's encoders take
HEVC: Final = ("libx265", "hevc_nvenc")
AV1: Final = ("libsvtav1", "av1_nvenc")
# Installs an ffmpeg with all the CPU encoders. On Windows, imageio-ffmpeg's build lacks libsvtav1.
COMPLETE: Final = "winget install Gyan.FFmpeg" if sys.platform == "win32" else "pip install imageio-ffmpeg"
# ffmpeg's muxers that do not take all of our codecs: WebM takes only AV1, and QuickTime all but AV1.
WEBM: Final = "webm"
QUICKTIME: Final = "mov"


@cache
def encoder_formats(ffmpeg: str, codec: str) -> frozenset[str]:
    """Return the pixel formats that an encoder accepts, without the suffix "le"; empty if this ffmpeg lacks it.

    Formats that an NVIDIA encoder takes in semi-planar layout are listed under their planar names.
    """
    try:
        said = answer_of(ffmpeg, "-hide_banner", "-h", f"encoder={codec}")
    except ParagonError:  # a file that is no program
        return frozenset()
    found = re.search(r"Supported pixel formats: (.*)", said)
    names = {name.removesuffix("le") for name in found[1].split()} if found else set()
    return frozenset(names) | {ours for ours, theirs in SEMIPLANAR.items() if theirs.removesuffix("le") in names}


def ffmpeg_with(codec: str) -> str:
    """Return the path of the first ffmpeg that has an encoder.

    Raises:
        InvalidInput: no installed ffmpeg has it.
        ParagonError: there is no ffmpeg.
    """
    programs = find_ffmpegs()
    for program in programs:
        if encoder_formats(program, codec):
            return program
    raise InvalidInput(
        f"there is no encoder {codec} in {' and '.join(programs)}; choose another --codec, or install an ffmpeg that "
        f"has it ({COMPLETE} installs one with libx264, libx265 and libsvtav1)."
    )


def check_device(codec: str) -> None:
    """Check that this machine has the GPU that an encoder needs.

    Raises:
        InvalidInput: it has none.
    """
    if codec.endswith(NVENC) and not gpus():
        raise InvalidInput(f"{codec} needs an NVIDIA GPU, and there is none; choose another --codec.")


def choose_encoding(wanted: Encoding, source: vs.VideoFormat, muxer: str) -> tuple[str, Encoding]:
    """Return the ffmpeg to run, and the encoding with every default filled in.

    Args:
        wanted: what the user asked for.
        source: format of the clip before upscaling.
        muxer: ffmpeg's name for the output container.

    Raises:
        InvalidInput: no ffmpeg has the encoder, the encoder cannot take the pixel format or the crf, or the container
            cannot hold the codec.
        ParagonError: there is no ffmpeg.
    """
    codec = wanted.codec or _usual_codec(wanted.pix_fmt, source, muxer)
    if muxer in {WEBM, QUICKTIME} and (muxer == WEBM) != (codec in AV1):
        other = AV1[0] if muxer == WEBM else HEVC[0]
        raise InvalidInput(
            f"{muxer} cannot hold the video of {codec}; use --codec {other}, or an output that ends in .mkv."
        )
    program = ffmpeg_with(codec)
    able = encoder_formats(program, codec)
    candidates = [wanted.pix_fmt] if wanted.pix_fmt else pixel_format_candidates(source)
    pix_fmt = next((name for name in candidates if name in able), None)
    if pix_fmt is None:
        able_names = ", ".join(name for name in PIXEL_FORMATS if name in able)
        raise InvalidInput(f"{codec} cannot encode {candidates[0]}; it takes {able_names}.")
    settings = CODECS[codec]
    crf = settings.crf if wanted.crf is None else wanted.crf
    if not 0 <= crf <= settings.worst:
        raise InvalidInput(f"--crf is {crf:g}; {codec} takes 0 (best) to {settings.worst}.")
    return program, Encoding(
        codec=codec,
        crf=crf,
        preset=wanted.preset or settings.preset,
        pix_fmt=pix_fmt,
        options=wanted.options,
    )


def _usual_codec(pix_fmt: str, source: vs.VideoFormat, muxer: str) -> str:
    if muxer == WEBM:
        return AV1[0]
    return "libx265" if source.bits_per_sample > 8 or pix_fmt.endswith(("10", "12")) else "libx264"


def encoder_options(encoding: Encoding, props: Mapping[str, Any]) -> dict[str, str]:
    """Return ffmpeg's options for a complete encoding, as names without "-" and values.

    HDR10 metadata in the frame properties goes into the encoder's private options; NVENC has none for it.
    """
    settings = CODECS[encoding.codec]
    nvenc = encoding.codec.endswith(NVENC)
    pix_fmt = SEMIPLANAR.get(encoding.pix_fmt, encoding.pix_fmt) if nvenc else encoding.pix_fmt
    options = {
        "c:v": encoding.codec,
        settings.quality: f"{encoding.crf:g}",
        "preset": encoding.preset,
        "pix_fmt": pix_fmt if pix_fmt.endswith(("p", "le")) else f"{pix_fmt}le",
        **settings.extra,
    }
    private, fields = ("", []) if nvenc else _private_options(encoding.codec, props)
    if fields:
        options[private] = ":".join(fields)
    for name, value in encoding.options:
        options[name] = f"{options[name]}:{value}" if name == private and fields else value
    return options


def loses_hdr(encoding: Encoding, props: Mapping[str, Any]) -> bool:
    """Return whether the frame properties hold HDR10 metadata that the encoder cannot write (NVENC cannot)."""
    return encoding.codec.endswith(NVENC) and ("MasteringDisplayPrimariesX" in props or "ContentLightLevelMax" in props)


def _private_options(codec: str, props: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Return the ffmpeg option that takes an encoder's private settings, and its settings for HDR10 metadata.

    x264 and x265 count chromaticity in units of 1/50000 and luminance in units of 1/10000 cd/m². SVT-AV1 takes plain
    decimal numbers, luminance in cd/m².
    """
    in_units = codec == "libsvtav1"
    chromaticity, luminance = (1, 1) if in_units else (50000, 10000)
    display = _mastering_display(props, chromaticity, luminance, whole=not in_units)
    light = f"{props['ContentLightLevelMax']},{props['ContentLightLevelAverage']}" if _has_light(props) else ""
    name, display_key, light_key, fields = {
        "libx264": ("x264-params", "mastering-display", "cll", []),
        "libx265": ("x265-params", "master-display", "max-cll", ["log-level=error"]),
        "libsvtav1": ("svtav1-params", "mastering-display", "content-light", []),
    }[codec]
    fields += [f"{key}={value}" for key, value in ((display_key, display), (light_key, light)) if value]
    return name, fields


def _has_light(props: Mapping[str, Any]) -> bool:
    return "ContentLightLevelMax" in props and "ContentLightLevelAverage" in props


def _mastering_display(props: Mapping[str, Any], chromaticity: int, luminance: int, *, whole: bool) -> str:
    names = ("PrimariesX", "PrimariesY", "WhitePointX", "WhitePointY", "MaxLuminance", "MinLuminance")
    if any(f"MasteringDisplay{name}" not in props for name in names):
        return ""
    values = [props[f"MasteringDisplay{name}"] for name in names]
    across, down, white_x, white_y, brightest, darkest = values

    def number(value: float, unit: int) -> str:
        return str(round(value * unit)) if whole else f"{value * unit:.6g}"

    def point(x: float, y: float) -> str:
        return f"({number(x, chromaticity)},{number(y, chromaticity)})"

    red, green, blue = (point(x, y) for x, y in zip(_numbers(across), _numbers(down), strict=True))
    light = f"({number(brightest, luminance)},{number(darkest, luminance)})"
    return f"G{green}B{blue}R{red}WP{point(white_x, white_y)}L{light}"


def _numbers(value: Any) -> Sequence[float]:
    return [float(number) for number in value]
