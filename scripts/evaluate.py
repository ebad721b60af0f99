"""Measure picture quality: luma PSNR of bicubic enlargement and of the bundled models.

    python scripts/evaluate.py SET5 SET14 --variants nano micro --scale 2

Each picture of a folder is reduced by antialiased bicubic and enlarged again, by the backend that the filter would
choose; `--scale` pixels are cut from each border, as papers do.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from vsparagon import Upscaler
from vsparagon.quality import psnr_luma
from vsparagon.training.pictures import Picture, crop_to_multiple, load_picture, picture_files, reduce


def bicubic(scale: int) -> Callable[[Picture], Picture]:
    """Return enlargement by bicubic interpolation."""

    def enlarge(picture: Picture) -> Picture:
        size = (picture.shape[1] * scale, picture.shape[0] * scale)
        return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))

    return enlarge


def mean_psnr(enlarge: Callable[[Picture], Picture], folder: Path, scale: int) -> float:
    """Return the mean luma PSNR over a folder, in dB."""
    pictures = [crop_to_multiple(load_picture(path), scale) for path in picture_files(folder)]
    return float(np.mean([psnr_luma(enlarge(reduce(high, scale)), high, scale) for high in pictures]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--variants", nargs="+", default=["nano", "micro"])
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--precision", default="auto")
    args = parser.parse_args()
    candidates: dict[str, Callable[[Picture], Picture]] = {"bicubic": bicubic(args.scale)}
    for variant in args.variants:
        candidates[variant] = Upscaler(variant, args.scale, precision=args.precision)
    print("| x" + " | ".join([str(args.scale), *(folder.name for folder in args.folders)]) + " |")
    print("| --- " * (len(args.folders) + 1) + "|")
    for name, enlarge in candidates.items():
        values = [f"{mean_psnr(enlarge, folder, args.scale):.2f} dB" for folder in args.folders]
        print("| " + " | ".join([name, *values]) + " |")


if __name__ == "__main__":
    main()
