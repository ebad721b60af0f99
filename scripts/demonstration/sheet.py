"""Put pictures side by side, and below each the same detail magnified."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import vapoursynth as vs
from PIL import Image, ImageDraw, ImageFont

from vsparagon.compare.sheet import find_detail
from vsparagon.compare.versions import Picture

MARGIN: Final = 16
CAPTION: Final = 40
VIEW: Final = (1280, 720)  # largest width and height of a picture's part that is shown unscaled
ZOOM: Final = 4
BACKGROUND, INK, FRAME = (22, 22, 24), (236, 236, 236), (255, 196, 0)


def take_picture(clip: vs.VideoNode, n: int, matrix: int, **size: int) -> Picture:
    """Return frame `n` of a clip as H,W,3 uint8 RGB.

    Args:
        clip: of any format.
        n: number of the frame.
        matrix: of a YUV clip, as VapourSynth numbers them.
        size: `width` and `height` to resize to with the Catmull-Rom kernel; without them, the size stays.
    """
    arguments: dict[str, Any] = {"format": vs.RGB24, "filter_param_a": 0, "filter_param_b": 0.5, **size}
    if clip.format.color_family != vs.RGB:
        arguments["matrix_in"] = matrix
    with clip.resize.Bicubic(**arguments).get_frame(n) as frame:
        return np.stack([np.asarray(frame[plane]) for plane in range(3)], axis=-1)


def compare(pictures: Mapping[str, Picture]) -> Image.Image:
    """Return pictures of one size side by side, each with its name, and below each the same detail magnified.

    The detail is the most detailed part of the first picture. Of a large picture, only the surroundings of the detail
    are shown.
    """
    first = next(iter(pictures.values()))
    height, width = min(first.shape[0], VIEW[1]), min(first.shape[1], VIEW[0])
    part = (width // ZOOM, height // ZOOM)
    detail = find_detail(first, *part)
    left, top = (
        min(max(start + size // 2 - shown // 2, 0), whole - shown)
        for start, size, shown, whole in zip(detail, part, (width, height), first.shape[1::-1], strict=True)
    )
    x, y = detail[0] - left, detail[1] - top
    box = (x, y, x + part[0], y + part[1])
    rows = (CAPTION, CAPTION + height + CAPTION)
    sheet = Image.new("RGB", (len(pictures) * (width + MARGIN) + MARGIN, rows[1] + part[1] * ZOOM + MARGIN), BACKGROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(20)
    for column, (name, picture) in enumerate(pictures.items()):
        across = MARGIN + column * (width + MARGIN)
        shown = Image.fromarray(np.ascontiguousarray(picture[top : top + height, left : left + width]))
        enlarged = shown.crop(box).resize((part[0] * ZOOM, part[1] * ZOOM), Image.Resampling.NEAREST)
        sheet.paste(shown, (across, rows[0]))
        sheet.paste(enlarged, (across, rows[1]))
        outline = (across + x, rows[0] + y, across + box[2] - 1, rows[0] + box[3] - 1)
        draw.rectangle(outline, outline=FRAME, width=2)
        for row, text in zip(rows, (name, f"{name}, the detail {ZOOM} times as large"), strict=True):
            draw.text((across, row - CAPTION // 2), text, INK, font, anchor="lm")
    return sheet
