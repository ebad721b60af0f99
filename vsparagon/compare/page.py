"""Put all versions of all frames on one self-contained HTML page."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from html import escape
from importlib.resources import files
from string import Template
from typing import Any, Final

from PIL import Image

from vsparagon.compare.versions import Picture

# Lossless, since the page is about small differences. WebP's quickest setting gives smaller files than PNG's best. The
# next slower one would save another tenth, and take four times as long: most of the time of a comparison.
WEBP: Final[dict[str, Any]] = {"format": "WEBP", "lossless": True, "quality": 0, "method": 0}
WEBP_LARGEST: Final = 16383  # width and height in pixels
PNG: Final[dict[str, Any]] = {"format": "PNG", "compress_level": 1}


def make_page(name: str, description: str, frames: Mapping[str, Mapping[str, Picture]]) -> str:
    """Return the HTML of the page.

    Args:
        name: of the input, for the title.
        description: of the comparison, in a sentence.
        frames: frame title -> version name -> picture.
    """
    return Template(_part("page.html")).substitute(
        name=escape(name),
        description=escape(description),
        style=_part("page.css"),
        script=_part("page.js"),
        frames="\n".join(_frame(title, pictures.items()) for title, pictures in frames.items()),
    )


def _part(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _frame(title: str, pictures: Iterable[tuple[str, Picture]]) -> str:
    figures = "\n".join(_figure(title, name, picture) for name, picture in pictures)
    return f'<section data-title="{escape(title)}">\n<h2>{escape(title)}</h2>\n{figures}\n</section>'


def _figure(title: str, name: str, picture: Picture) -> str:
    data = io.BytesIO()
    height, width, _ = picture.shape
    options = WEBP if max(width, height) <= WEBP_LARGEST else PNG
    Image.fromarray(picture).save(data, **options)
    source = f"data:image/{options['format'].lower()};base64,{base64.b64encode(data.getvalue()).decode()}"
    return (
        f'<figure data-name="{escape(name)}"><figcaption>{escape(name)}</figcaption>'
        f'<img src="{source}" width="{width}" height="{height}" alt="{escape(title)}, enlarged by {escape(name)}">'
        "</figure>"
    )
