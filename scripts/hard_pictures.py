"""Make training pictures with what photographs lack: saturated edges, patterns, text and noise.

    python scripts/hard_pictures.py PHOTOS OUT --drawings 64 --noisy 40

A network trained on photographs alone gets these wrong. OUT receives drawings of 512x512 pixels, and some of the
pictures in PHOTOS with noise added; equal arguments give equal pictures. Add OUT to the folders that `scripts/train.py`
trains on.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from vsparagon.system.files import replacing
from vsparagon.system.interrupt import ending_on_interrupt
from vsparagon.training.pictures import load_picture, picture_files

SEED: Final = 6
SIDE: Final = 512
FINER: Final = 2  # drawings are made at this many times their size, and then reduced
HARD_EDGES: Final = 0.35  # share of the drawings that are reduced without antialiasing
LETTERS: Final = "abcdefgHIJKLM0123456789 .,:"
PATTERN: Final = 200  # largest side of a chequered field, in pixels before the reduction
NOISE: Final = (0.01, 0.1)  # range of the standard deviation, as a share of the full range
GREY_NOISE: Final = 0.4  # share of the noisy pictures that have the same noise in all colours

Picture = npt.NDArray[np.uint8]
Colour = tuple[int, ...]


def drawing(chance: random.Random) -> Picture:
    """Return a picture of overlapping shapes, lines, text and patterns, mostly in saturated colours; H,W,3 uint8."""

    def colour() -> Colour:
        if chance.random() < 0.7:
            return tuple(chance.choice((0, 255, chance.randrange(256))) for _ in range(3))
        return tuple(chance.randrange(256) for _ in range(3))

    side = SIDE * FINER
    picture = Image.new("RGB", (side, side), colour())
    draw = ImageDraw.Draw(picture)
    for _ in range(chance.randrange(20, 90)):
        x, y = chance.randrange(side), chance.randrange(side)
        width, height = (int(side * 2 ** -chance.uniform(1, 7)) for _ in range(2))
        match chance.randrange(7):
            case 0:
                draw.rectangle((x, y, x + width, y + height), fill=colour())
            case 1:
                corners = (x, y, x + width, y + height)
                draw.ellipse(corners, fill=colour(), outline=colour(), width=chance.randrange(1, 9))
            case 2:
                ends = (x, y, chance.randrange(side), chance.randrange(side))
                draw.line(ends, fill=colour(), width=chance.randrange(1, 14))
            case 3:
                points = [
                    (x + chance.randrange(-width - 1, width + 1), y + chance.randrange(-height - 1, height + 1))
                    for _ in range(chance.randrange(3, 7))
                ]
                draw.polygon(points, fill=colour())
            case 4:
                text = "".join(chance.choice(LETTERS) for _ in range(chance.randrange(3, 24)))
                draw.text((x, y), text, fill=colour(), font=ImageFont.load_default(chance.randrange(14, 90)))
            case 5:
                colours, step = (colour(), colour()), chance.randrange(2, 24)
                for i in range(0, width, step):
                    draw.rectangle((x + i, y, x + i + step - 1, y + height), fill=colours[i // step % 2])
            case _:
                step, colours = chance.randrange(2, 20), (colour(), colour())
                for i in range(0, min(width, PATTERN), step):
                    for j in range(0, min(height, PATTERN), step):
                        field = (x + i, y + j, x + i + step - 1, y + j + step - 1)
                        draw.rectangle(field, fill=colours[(i + j) // step % 2])
    way = Image.Resampling.NEAREST if chance.random() < HARD_EDGES else Image.Resampling.BOX
    return np.asarray(picture.resize((SIDE, SIDE), way))


def noisy(picture: Picture, chance: random.Random, noise: np.random.Generator) -> Picture:
    """Return a picture, H,W,3 uint8, with Gaussian noise of random strength, per colour or the same in all colours."""
    strength = 255 * chance.uniform(*NOISE)
    grain = noise.standard_normal(picture.shape).astype(np.float32) * strength
    if chance.random() < GREY_NOISE:
        grain = grain[..., :1] * np.ones(3, np.float32)
    return np.clip(picture + grain, 0, 255).round().astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder with photographs")
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument("--drawings", type=int, default=64, help="number of drawings (64)")
    parser.add_argument("--noisy", type=int, default=40, help="number of photographs with noise (40)")
    args = parser.parse_args()
    if min(args.drawings, args.noisy) < 0:
        parser.error(f"--drawings is {args.drawings} and --noisy {args.noisy}; neither can be negative")
    try:
        write_pictures(args.photos, args.out, drawings=args.drawings, noisy_ones=args.noisy)
    except OSError as error:
        sys.exit(f"hard_pictures: {error}")


def write_pictures(photos: Path, out: Path, *, drawings: int, noisy_ones: int) -> None:
    """Write drawings, and pictures with noise, into a folder; photographs that cannot be read are reported.

    Raises:
        OSError: a folder is missing, or a file cannot be written.
    """
    chance, noise = random.Random(SEED), np.random.default_rng(SEED)  # noqa: S311  (pictures, no secrets)
    files = picture_files(photos)
    out.mkdir(parents=True, exist_ok=True)
    for number in range(drawings):
        _save(drawing(chance), out / f"drawing{number:03}.png")
    for number, file in enumerate(chance.sample(files, min(noisy_ones, len(files)))):
        try:
            photo = load_picture(file)
        except (OSError, ValueError) as error:
            print(f"left out {file}: {error}", file=sys.stderr)
            continue
        _save(noisy(photo, chance, noise), out / f"noisy{number:03}.png")


def _save(picture: Picture, path: Path) -> None:
    with replacing(path) as draft:
        Image.fromarray(picture).save(draft)


if __name__ == "__main__":
    with ending_on_interrupt("hard_pictures"):
        main()
