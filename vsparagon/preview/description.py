"""What the Matroska file says about a clip: pixel format, shape, colours and times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

import numpy as np
import vapoursynth as vs

from vsparagon.colours.description import FULL, UNSPECIFIED, frame_range, is_subsampled
from vsparagon.input.source import rate_of
from vsparagon.preview.matroska import Video, element

DEPTHS: Final = (8, 10, 12, 16)
# Subsampling in width and height -> FourCCs of YUV at these depths. VLC knows them, too, except those of 16 bits.
FOURCCS: Final = {
    (1, 1): (b"I420", b"I0AL", b"I0CL", b"Y3\x0b\x10"),
    (1, 0): (b"I422", b"I2AL", b"I2CL", b"Y3\x0a\x10"),
    (0, 0): (b"I444", b"I4AL", b"I4CL", b"Y3\x00\x10"),
}
# VapourSynth's _ChromaLocation -> ChromaSitingHorz and ChromaSitingVert, which cannot say "bottom".
SITINGS: Final = {0: (1, 2), 1: (2, 2), 2: (1, 1), 3: (2, 1)}
# MatrixCoefficients, TransferCharacteristics and Primaries: codes of ITU-T H.273, as in frame properties.
CODES: Final = {"_Matrix": 0x55B1, "_Transfer": 0x55BA, "_Primaries": 0x55BB}
LIGHT: Final = {"ContentLightLevelMax": 0x55BC, "ContentLightLevelAverage": 0x55BD}  # MaxCLL, MaxFALL
UNEVEN: Final = 2000  # microseconds by which rounded timestamps may differ from a constant frame rate


def preview_format(source: vs.VideoFormat) -> int:
    """Return the id of the format in which a clip is previewed: its own, or the closest that players know.

    Gray becomes 4:4:4, since ffplay takes 8-bit gray for full range.
    """
    bits = source.bits_per_sample if source.sample_type == vs.INTEGER else max(DEPTHS)
    shape = (source.subsampling_w, source.subsampling_h)
    across, down = shape if shape in FOURCCS else (0, 0)
    wanted = source.replace(
        color_family=vs.RGB if source.color_family == vs.RGB else vs.YUV,
        sample_type=vs.INTEGER,
        bits_per_sample=next((depth for depth in DEPTHS if depth >= bits), max(DEPTHS)),
        subsampling_w=across,
        subsampling_h=down,
    )
    return int(wanted.id)


def fourcc(video_format: vs.VideoFormat) -> bytes:
    """Return the four bytes by which ffmpeg and mpv know the planes of a `preview_format`, one after the other."""
    depth = video_format.bits_per_sample
    if video_format.color_family == vs.RGB:
        return b"G3" + bytes([0, depth])
    return FOURCCS[video_format.subsampling_w, video_format.subsampling_h][DEPTHS.index(depth)]


def described(clip: vs.VideoNode, props: Mapping[str, Any], times: Sequence[int], title: str) -> Video:
    """Return the description of a clip.

    Args:
        clip: in a `preview_format`.
        props: frame properties of its first frame, for the colours and the pixel aspect ratio.
        times: when its frames are shown, in microseconds from the first, rising.
        title: of the file.
    """
    rate = rate_of(clip)
    even = np.abs(np.array(times) - np.arange(len(times)) * float(1_000_000 / rate)).max() <= UNEVEN
    across, down = props.get("_SARNum", 0), props.get("_SARDen", 0)
    pixel = Fraction(across, down) if across > 0 and down > 0 else Fraction(1)
    return Video(
        title=title,
        fourcc=fourcc(clip.format),
        width=clip.width,
        height=clip.height,
        aspect=pixel * clip.width / clip.height,
        colour=colour(props, clip.format),
        times=times,
        duration=times[-1] + round(1_000_000 / rate),
        rate=rate if even else None,
        frame_size=frame_size(clip),
    )


def frame_size(clip: vs.VideoNode) -> int:
    """Return the size of a frame's planes in bytes, without padding."""
    shape = clip.format
    chroma = (clip.width >> shape.subsampling_w) * (clip.height >> shape.subsampling_h)
    return int((clip.width * clip.height + (shape.num_planes - 1) * chroma) * shape.bytes_per_sample)


def colour(props: Mapping[str, Any], video_format: vs.VideoFormat) -> bytes:
    """Return the content of the element Colour. What the properties of a frame do not say is left out."""
    full = frame_range(props, video_format.color_family) == FULL
    content = element(0x55B9, 2 if full else 1)  # Range
    for name, identifier in CODES.items():
        if props.get(name, UNSPECIFIED) != UNSPECIFIED:
            content += element(identifier, int(props[name]))
    siting = SITINGS.get(props.get("_ChromaLocation", 0))
    if siting and is_subsampled(video_format):
        content += element(0x55B7, siting[0]) + element(0x55B8, siting[1])  # ChromaSitingHorz, ChromaSitingVert
    for name, identifier in LIGHT.items():
        if name in props:
            content += element(identifier, int(props[name]))
    return content + mastering_display(props)


def mastering_display(props: Mapping[str, Any]) -> bytes:
    """Return the element MasteringMetadata, or nothing if the properties of a frame do not have all of it."""
    names = [f"MasteringDisplay{name}" for name in ("PrimariesX", "PrimariesY", "WhitePointX", "WhitePointY")]
    names += [f"MasteringDisplay{name}Luminance" for name in ("Max", "Min")]
    if any(name not in props for name in names):
        return b""
    across, down, *others = (props[name] for name in names)
    points = [value for point in zip(across, down, strict=True) for value in point]  # of red, green and blue
    # From PrimaryRChromaticityX to LuminanceMin, the identifiers are consecutive.
    return element(0x55D0, b"".join(element(0x55D1 + n, float(value)) for n, value in enumerate(points + others)))
