"""Measure how good a generator is: upscale pictures as the filter does, and compare with the originals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from vsparagon.geometry.extension import extension_for
from vsparagon.training.degradation import Degradation, Pair, degrade
from vsparagon.training.pairs import read_pairs
from vsparagon.training.pictures import Picture, to_picture
from vsparagon.training.quality import SSIM_WINDOW, psnr_luma, psnr_rgb, ssim_luma

Enlarge = Callable[[Picture], Picture]


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Mean quality of several pictures, measured after cutting `scale` pixels from each side.

    Attributes:
        psnr: of the luma, in dB.
        ssim: of the luma, at most 1.
        psnr_rgb: over red, green and blue, in dB.
    """

    psnr: float
    ssim: float
    psnr_rgb: float


def least_side(scale: int) -> int:
    """Return the least side, in pixels, of a high-resolution picture that `mean_quality` can measure."""
    return SSIM_WINDOW + 2 * scale


def load_pairs(folder: Path, scale: int, degradation: Degradation, *, low: Path | None = None) -> list[Pair]:
    """Return the usable pictures of a folder with their low resolution; the others are logged and skipped.

    Args:
        folder: of high-resolution pictures.
        scale: how many times smaller the low resolution is.
        degradation: how low resolution is made; random choices are the same every time. From a clip, the middle frame
            is taken.
        low: folder of low-resolution pictures to use instead of `degradation`.

    Raises:
        FileNotFoundError: a folder is missing or holds no usable picture.
    """

    def degraded(number: int, pair: Pair) -> Pair:
        clip = degrade(pair.high, scale, degradation, np.random.default_rng(number))
        return clip[len(clip) // 2]

    smallest = least_side(scale)
    if low is None and degradation.video:
        smallest = degradation.video.least_side(-(-smallest // scale), scale)
    pairs = [
        pair for _, pair in read_pairs(folder, low, scale=scale, smallest=smallest, degraded=None if low else degraded)
    ]
    if not pairs:
        raise FileNotFoundError(f"no usable picture in {folder}; see the log for why each was left out")
    return pairs


def mean_quality(enlarge: Enlarge, pairs: list[Pair], scale: int) -> Quality:
    """Upscale the low resolution of the pairs, at least one, and compare with the high resolution."""
    values = []
    for pair in pairs:
        result = enlarge(pair.low)
        values.append([measure(result, pair.high, scale) for measure in (psnr_luma, ssim_luma, psnr_rgb)])
    psnr, ssim, rgb = np.mean(values, axis=0)
    return Quality(psnr=float(psnr), ssim=float(ssim), psnr_rgb=float(rgb))


def enlarger(generator: nn.Module, scale: int) -> Enlarge:
    """Return a function that upscales a picture, H,W,3 uint8, with a torch module.

    As in the filter, the picture is extended, and the result cropped, rounded and clamped.

    Args:
        generator: maps N,3,H,W of 0..1 to N,3,scale*H,scale*W; in eval mode.
        scale: its scale factor.
    """

    @torch.no_grad()
    def enlarge(low: Picture) -> Picture:
        extension = extension_for(*low.shape[:2])
        extended = np.zeros((1, 3, extension.extended_height, extension.extended_width), np.float32)
        extension.picture(extended)[0] = low.transpose(2, 0, 1) / np.float32(255)
        extension.fill(extended)
        device = next(generator.parameters()).device
        output = generator(torch.from_numpy(extended).to(device)).float().cpu().numpy()
        result = extension.picture(output, scale)[0]
        return to_picture(result.transpose(1, 2, 0) * np.float32(255))

    return enlarge
