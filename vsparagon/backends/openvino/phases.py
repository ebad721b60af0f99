"""The pixel shuffle as part of a copy: from the phases that a convolution writes to the planes of a frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from vsparagon.colours.layout import Array

BLOCK: Final = 1 << 20  # bytes of phases to write at once; they are read several times, so they should fit in a cache


def write_phases(
    phases: Array,
    scale: int,
    target: Sequence[Array],
    rows: slice,
    columns: slice,
    *,
    repeated: Array | None = None,
) -> None:
    """Write a part of the enlarged picture into planes.

    Args:
        phases: H,W,channels*scale*scale float32; channel c*scale*scale + a*scale + b of a pixel is colour c of its
            enlarged pixel (a, b).
        scale: enlargement.
        target: one float32 array per colour, as large as the part; each row must be contiguous.
        rows, columns: the part, in pixels of the enlarged picture.
        repeated: colours,H,W, added to every phase of a pixel; None adds nothing.
    """
    step = max(1, BLOCK // phases[0].nbytes)
    last = -(-rows.stop // scale)
    for begin in range(rows.start // scale, last, step):
        end = min(begin + step, last)
        upper, lower = max(rows.start, begin * scale), min(rows.stop, end * scale)
        _write_block(
            phases[begin:end],
            scale,
            [plane[upper - rows.start : lower - rows.start] for plane in target],
            slice(upper - begin * scale, lower - begin * scale),
            columns,
            None if repeated is None else repeated[:, begin:end],
        )


def _write_block(
    phases: Array, scale: int, target: Sequence[Array], rows: slice, columns: slice, repeated: Array | None
) -> None:
    top, left = rows.start, columns.start
    width = columns.stop - left
    low = range(left // scale, -(-columns.stop // scale))
    inner = range(-(-left // scale), columns.stop // scale)  # whose enlarged pixels all belong to the part
    head = inner.start * scale - left
    span = len(inner) * scale
    row = np.dtype((np.void, scale * phases.itemsize))  # of a pixel's block: numpy moves it as one number
    for colour, plane in enumerate(target):
        added = None if repeated is None else _Added(repeated[colour, :, inner.start : inner.stop], scale)
        for a in range(scale):
            first = (a - top) % scale
            lines = plane[first::scale]
            skipped = (top + first) // scale
            source = phases[skipped:][: len(lines)]
            at = (colour * scale + a) * scale
            moved = source[:, inner.start : inner.stop, at : at + scale]
            place = lines[:, head : head + span]
            if added is None:
                place.view(row)[:] = moved.view(row)[..., 0]
            else:
                added.write(moved, skipped, place)
            for x in (low.start, low.stop - 1):  # blocks that the part's border cuts
                if x in inner:
                    continue
                for b in range(scale):
                    column = x * scale + b - left
                    if 0 <= column < width:
                        lines[:, column] = source[:, x, at + b]
                        if repeated is not None:
                            lines[:, column] += repeated[colour, skipped:][: len(lines), x]


class _Added:
    """A plane of pixels, each of which is added to all its phases.

    Where the scale is even, it is added to two phases at once, as one complex number: numpy adds strided numbers one by
    one, and takes as long for a complex number as for a real one.
    """

    def __init__(self, pixels: Array, scale: int) -> None:
        self._pixels = pixels
        if scale % 2 == 0:
            self._pixels = np.empty(pixels.shape, np.complex64)
            self._pixels.real = self._pixels.imag = pixels

    def write(self, moved: Array, skipped: int, place: Array) -> None:
        """Write the sum of phases and pixels.

        Args:
            moved: the phases, rows,W,scale.
            skipped: first row of the pixels to add.
            place: rows,W*scale; written.
        """
        word = self._pixels.dtype
        source, target = moved.view(word), place.view(word)
        step = source.shape[-1]
        for b in range(step):
            np.add(source[..., b], self._pixels[skipped:][: len(source)], out=target[:, b::step])
