"""How good a generator is: enlarge pictures as the filter does and compare."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from vsparagon.tiles.extension import extension_for
from vsparagon.training.degradation import Degradation, Pair, degrade
from vsparagon.training.pictures import Picture, crop_to_multiple, load_picture, picture_files, to_picture
from vsparagon.training.quality import psnr_luma, psnr_rgb, ssim_luma

Enlarge = Callable[[Picture], Picture]


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Means over pictures, `scale` pixels cut from each side.

    Attributes:
        psnr: of the luma, in dB.
        ssim: of the luma.
        psnr_rgb: of the colours, in dB.
    """

    psnr: float
    ssim: float
    psnr_rgb: float


def load_pairs(folder: Path, scale: int, degradation: Degradation) -> list[Pair]:
    """Return the pictures of a folder with their low resolution, the same every time; of a clip, a middle frame."""
    pairs = []
    for number, path in enumerate(picture_files(folder)):
        high = crop_to_multiple(load_picture(path), scale)
        clip = degrade(high, scale, degradation, np.random.default_rng(number))
        pairs.append(clip[len(clip) // 2])
    return pairs


def mean_quality(enlarge: Enlarge, pairs: list[Pair], scale: int) -> Quality:
    """Enlarge the low resolution of the pairs and compare with their high resolution."""
    values = []
    for pair in pairs:
        result = enlarge(pair.low)
        values.append([measure(result, pair.high, scale) for measure in (psnr_luma, ssim_luma, psnr_rgb)])
    psnr, ssim, rgb = np.mean(values, axis=0)
    return Quality(psnr=float(psnr), ssim=float(ssim), psnr_rgb=float(rgb))


def enlarger(generator: nn.Module, scale: int) -> Enlarge:
    """Return a function that enlarges pictures with a torch module as the filter does: extended, cut back, rounded.

    Args:
        generator: N,3,H,W of 0..1 to N,3,scale*H,scale*W, in eval mode.
        scale: its enlargement.
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
