"""Put a detail of all frames, in all versions, on one picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vsparagon.compare.versions import Picture

DETAIL: Final = (240, 180)  # largest width and height of the detail, in pixels of the enlarged frame
ZOOM: Final = 2
MARGIN: Final = 12
CAPTION: Final = 30
BACKGROUND, INK = (22, 22, 24), (236, 236, 236)


def make_sheet(frames: Mapping[str, Mapping[str, Picture]]) -> Image.Image:
    """Return a picture with a row for each frame: its most detailed part in all versions, side by side.

    Args:
        frames: frame title -> version name -> picture, all pictures of one size. The last version chooses the part.
    """
    rows = [(title, list(pictures.items())) for title, pictures in frames.items()]
    height, width, _ = rows[0][1][0][1].shape
    across, down = min(width, DETAIL[0]), min(height, DETAIL[1])
    step_x, step_y = across * ZOOM + MARGIN, CAPTION + down * ZOOM + MARGIN
    sheet = Image.new("RGB", (len(rows[0][1]) * step_x + MARGIN, len(rows) * step_y + MARGIN), BACKGROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    for row, (title, pictures) in enumerate(rows):
        left, top = find_detail(pictures[-1][1], across, down)
        for column, (name, picture) in enumerate(pictures):
            x, y = MARGIN + column * step_x, MARGIN + row * step_y
            detail = Image.fromarray(np.ascontiguousarray(picture[top : top + down, left : left + across]))
            sheet.paste(detail.resize((across * ZOOM, down * ZOOM), Image.Resampling.NEAREST), (x, y + CAPTION))
            text = f"{title}: {name}" if column == 0 else name
            draw.text((x, y + CAPTION // 2), text, INK, font, anchor="lm")
    return sheet


def find_detail(picture: Picture, width: int, height: int) -> tuple[int, int]:
    """Return left and top of the most detailed part: the one whose neighbouring pixels differ most in luma.

    Args:
        picture: H,W,3 uint8 RGB.
        width, height: of the part, in pixels; no larger than the picture.
    """
    luma = picture @ np.array([0.2126, 0.7152, 0.0722])
    change = np.zeros_like(luma)
    change[:, 1:] += np.abs(np.diff(luma, axis=1))
    change[1:] += np.abs(np.diff(luma, axis=0))
    total = np.pad(change, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    parts = total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
    top, left = np.unravel_index(parts.argmax(), parts.shape)
    return int(left), int(top)
