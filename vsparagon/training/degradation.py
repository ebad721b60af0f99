"""Make low resolution from high: by downscaling, and for video also with the effects of a camera and an encoder."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Literal

import av
import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from vsparagon.colours.layout import Layout
from vsparagon.training.pictures import Picture, to_picture
from vsparagon.training.resize import Kernel, reduce, resize

Share = Annotated[float, Meta(ge=0, le=1)]
Sigma = Annotated[float, Meta(ge=0, le=255)]
RateFactor = Annotated[int, Meta(ge=0, le=51)]

SMALLEST_FRAME = 16  # least side in pixels that both encoders take; x265 refuses smaller frames

# Otherwise, encoders log every stream that they open.
logging.getLogger("libav").setLevel(logging.ERROR)


class VideoDegradation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is done to the frames of a short clip, in the order of these attributes; downscaling comes before `blur`.

    From each range, one value is drawn uniformly for the whole clip. At the same CRF, x264 gives such a short clip
    less quality than a long one (at CRF 28, 0.3 to 1.8 dB less on three clips), so the ranges are lower than the CRFs
    in common use.

    Attributes:
        softness: range of the sigma of a Gaussian blur, in high-resolution pixels, that the target gets too. Videos
            are softer than photographs, and a network trained on sharp pictures alone sharpens what never was sharp.
            Use [0, 0] for validation, to compare with the original picture.
        pan: fastest movement of the camera in high-resolution pixels per frame; about a third of the clips stand still.
        blur: range of the sigma of a Gaussian blur, in low-resolution pixels.
        noise: range of the sigma of Gaussian noise, on a scale of 0..255.
        frames: frames per clip; several, so that there are P and B frames.
        h264_crf, hevc_crf: ranges of the constant rate factor.
        hevc_share: share of the clips that are encoded as HEVC instead of H.264.
    """

    softness: tuple[Sigma, Sigma] = (0.0, 1.5)
    pan: Annotated[int, Meta(ge=0)] = 4
    blur: tuple[Sigma, Sigma] = (0.0, 0.5)
    noise: tuple[Sigma, Sigma] = (0.0, 3.0)
    frames: Annotated[int, Meta(ge=1)] = 6
    h264_crf: tuple[RateFactor, RateFactor] = (18, 34)
    hevc_crf: tuple[RateFactor, RateFactor] = (20, 36)
    hevc_share: Share = 0.2

    def __post_init__(self) -> None:
        for name in ("softness", "blur", "noise", "h264_crf", "hevc_crf"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} is [{low}, {high}]; give the smaller one first")

    @property
    def path(self) -> int:
        """The farthest that the camera moves in a clip, in high-resolution pixels."""
        return self.pan * (self.frames - 1)

    def least_side(self, side: int, scale: int) -> int:
        """Return the least side of a picture, in high-resolution pixels, whose clips can be made and are large enough.

        Args:
            side: what is needed of a frame, in low-resolution pixels.
            scale: how many times smaller the low resolution is.
        """
        even = 2 * -(-max(side, SMALLEST_FRAME) // 2)  # 4:2:0 needs even sides
        return even * scale + self.path


class Degradation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How low resolution is made from high.

    Attributes:
        resize: downscaling kernels, one of which is drawn at random each time.
        video: what a camera and an encoder do besides; None for downscaling alone.
    """

    resize: Annotated[tuple[Kernel, ...], Meta(min_length=1)] = ("bicubic",)
    video: VideoDegradation | None = None


@dataclass(frozen=True)
class Pair:
    """A picture in low and in high resolution: H,W,3 and scale*H,scale*W,3 uint8 RGB."""

    low: Picture
    high: Picture


def degrade(high: Picture, scale: int, degradation: Degradation, random: np.random.Generator) -> list[Pair]:
    """Return a picture with its low resolution: one pair, or one per frame of a clip that pans over the picture.

    Args:
        high: H,W,3 uint8 RGB; H and W must be multiples of `scale`, and for a clip at least `least_side`. The frames of
            a clip may show only a part of it.
        scale: how many times smaller the low resolution is.
        degradation: what to do.
        random: the only source of randomness.
    """
    kernel = degradation.resize[random.integers(len(degradation.resize))]
    video = degradation.video
    if video is None:
        return [Pair(reduce(high, scale, kernel), high)]
    highs = _panned(_blurred(high, random.uniform(*video.softness)), scale, video, random)
    blur, noise = random.uniform(*video.blur), random.uniform(*video.noise)
    lows = [_noisy(_blurred(reduce(frame, scale, kernel), blur), noise, random) for frame in highs]
    codec: Codec = "hevc" if random.random() < video.hevc_share else "h264"
    low, high_end = video.hevc_crf if codec == "hevc" else video.h264_crf
    compressed = compress(lows, codec, crf=int(random.integers(low, high_end + 1)))
    return [Pair(*pair) for pair in zip(compressed, highs, strict=True)]


def _panned(high: Picture, scale: int, video: VideoDegradation, random: np.random.Generator) -> list[Picture]:
    """Return the frames of a clip, cut out of a picture that must have room for the movement."""
    pace = random.integers(-video.pan, video.pan + 1, 2) * int(random.random() < 2 / 3)
    steps = video.frames - 1
    even = 2 * scale  # 4:2:0 needs even sides at low resolution
    room = np.abs(pace) * steps
    size = (np.array(high.shape[:2]) - room) // even * even
    start = np.where(pace < 0, -pace * steps, 0)
    frames = []
    for i in range(video.frames):
        y, x = start + pace * i
        frames.append(high[y : y + size[0], x : x + size[1]])
    return frames


def _blurred(picture: Picture, sigma: float) -> Picture:
    if sigma < 0.1:
        return picture
    reach = int(np.ceil(3 * sigma))
    taps = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2)).astype(np.float32)
    taps /= taps.sum()
    padded = np.pad(picture.astype(np.float32), ((reach, reach), (reach, reach), (0, 0)), mode="symmetric")
    height, width = picture.shape[:2]
    tall, wide = np.zeros((height, *padded.shape[1:]), np.float32), np.zeros(picture.shape, np.float32)
    for i, tap in enumerate(taps):
        tall += tap * padded[i : i + height]
    for i, tap in enumerate(taps):
        wide += tap * tall[:, i : i + width]
    return to_picture(wide)


def _noisy(picture: Picture, sigma: float, random: np.random.Generator) -> Picture:
    noise = random.standard_normal(picture.shape, np.float32) * np.float32(sigma)
    return to_picture(picture + noise)


Codec = Literal["h264", "hevc"]


def compress(frames: list[Picture], codec: Codec, *, crf: int) -> list[Picture]:
    """Return frames after real encoding and decoding as 8-bit 4:2:0 video, in BT.709 and preset medium.

    Everything runs on one thread, so the result depends only on the arguments.

    Args:
        frames: each H,W,3 uint8 RGB, all of one size, H and W even.
        codec: "h264" (libx264) or "hevc" (libx265).
        crf: constant rate factor of the encoder, 0 to 51.
    """
    height, width = frames[0].shape[:2]
    encoder = av.CodecContext.create("libx264" if codec == "h264" else "libx265", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base = Fraction(1, 25)
    encoder.thread_count = 1
    alone = "pools=none:frame-threads=1:log-level=none"
    encoder.options = {"crf": str(crf), "preset": "medium"} | ({"x265-params": alone} if codec == "hevc" else {})
    decoder = av.CodecContext.create(codec, "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.thread_count = 1
    packets = []
    for number, picture in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(_to_i420(picture), "yuv420p")
        frame.pts = number
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    decoded = [frame for packet in packets for frame in decoder.decode(packet)] + decoder.decode(None)
    return [_from_i420(frame.to_ndarray().astype(np.uint8, copy=False), height, width) for frame in decoded]


# BT.709 in limited range, from R'G'B' of 0..255.
_GAIN, _OFFSET = (part.astype(np.float32) for part in Layout(family="yuv", bits=8, matrix=1).from_rgb())
_TO_YUV = _GAIN.T / 255
_TO_RGB = np.linalg.inv(_TO_YUV.astype(np.float64)).astype(np.float32)


def _to_i420(rgb: Picture) -> npt.NDArray[np.uint8]:
    """Return the planes Y, U, V one below the other, as PyAV lays out yuv420p; chroma is centred on its four pixels."""
    yuv = to_picture(rgb.astype(np.float32) @ _TO_YUV + _OFFSET)
    height, width = rgb.shape[:2]
    chroma = resize(yuv[..., 1:], height // 2, width // 2, "area")
    planes = (yuv[..., 0].ravel(), chroma[..., 0].ravel(), chroma[..., 1].ravel())
    return np.concatenate(planes).reshape(height * 3 // 2, width)


def _from_i420(planes: npt.NDArray[np.uint8], height: int, width: int) -> Picture:
    luma, chroma = planes[:height], planes[height:].reshape(2, height // 2, width // 2)
    full = resize(np.ascontiguousarray(chroma.transpose(1, 2, 0)), height, width)
    yuv = np.concatenate((luma[..., None], full), axis=2).astype(np.float32)
    return to_picture((yuv - _OFFSET) @ _TO_RGB)
