"""The geometry of tiles: they cover each pixel once, have what the network looks at around it, and compute little."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vsparagon.geometry.extension import MARGIN, Sizes, extension_for
from vsparagon.geometry.tiling import SMALLEST_PART, Grid, blended_tiles, exact_tiles, tile_counts
from vsparagon.tiles.planning import FAST_AREA


@given(pixels=st.integers(1, 500), step=st.integers(1, 64), rest=st.integers(0, 63), minimum=st.integers(1, 200))
def test_extension_is_the_smallest_that_the_network_accepts(pixels, step, rest, minimum):
    accepted = Sizes(step=step, rest=rest % step, minimum=minimum)
    sides = (side for side in range(pixels + 2 * MARGIN, 1000) if side >= minimum and side % step == rest % step)
    extension, side = extension_for(pixels, pixels, accepted), next(sides)
    assert (extension.extended_height, extension.extended_width) == (side, side)


@given(pixels=st.integers(1, 3000), reach=st.integers(8, 60), count=st.integers(1, 40))
def test_exact_tiles_cover_each_pixel_once_with_all_around_it(pixels, reach, count):
    extended = extension_for(pixels, pixels).extended_height
    tiles = exact_tiles(pixels, extended, reach=reach, count=min(count, pixels))
    assert [part.first for part in tiles.parts] == [MARGIN, *(part.end for part in tiles.parts[:-1])]
    assert tiles.parts[-1].end == MARGIN + pixels
    assert len(tiles.parts) == 1 or tiles.size < extended
    for start, first, end in tiles.parts:
        assert 0 <= start <= start + tiles.size <= extended
        assert start == 0 or first - start >= reach
        assert start + tiles.size == extended or start + tiles.size - end >= reach


@given(
    pixels=st.integers(16, 3000), size=st.integers(16, 400), share=st.floats(0, 0.5), scale=st.sampled_from([1, 2, 3])
)
@example(pixels=37, size=24, share=0.5, scale=2)  # three tiles overlap
def test_blended_tiles_sum_to_one(pixels, size, share, scale):
    size = min(size, pixels)
    tiles = blended_tiles(pixels, size=size, overlap=int(size * share), scale=scale)
    total = np.zeros(pixels * scale)
    for start, weights in zip(tiles.starts, tiles.weights, strict=True):
        total[start * scale : (start + size) * scale] += weights
    np.testing.assert_allclose(total, 1, atol=1e-5)


@pytest.mark.parametrize(("scale", "fade"), [(1, [0, 0.25, 0.75]), (2, [0, 0, 0.125, 0.375, 0.625, 0.875])])
def test_blended_tiles_fade_over_the_middle_half_of_what_they_share(scale, fade):
    tiles = blended_tiles(20, size=12, overlap=4, scale=scale)
    assert tiles.starts == (0, 8)
    second = [*fade, *[1] * (12 * scale - len(fade))]
    assert tiles.weights.tolist() == [second[::-1], second]


@given(height=st.integers(16, 2200), width=st.integers(16, 4100), reach=st.sampled_from([8, 9, 20]))
def test_tile_counts_keep_to_the_area(height, width, reach):
    rows, columns = tile_counts(height, width, reach=reach, area=FAST_AREA)
    assert (-(-height // rows) + 2 * reach) * (-(-width // columns) + 2 * reach) <= FAST_AREA


@given(height=st.integers(1, 300), width=st.integers(1, 300), reach=st.integers(5, 30), area=st.integers(1, 40_000))
@example(height=32, width=64, reach=5, area=42 * 74)  # just one tile
@example(height=32, width=63, reach=5, area=42 * 42)  # two would fit, but are too small
def test_tile_counts_compute_the_fewest_pixels(height, width, reach, area):
    most = max(1, height // SMALLEST_PART), max(1, width // SMALLEST_PART)
    tiles = {
        (rows, columns): (-(-height // rows) + 2 * reach) * (-(-width // columns) + 2 * reach)
        for rows, columns in itertools.product(*(range(1, count + 1) for count in most))
    }
    fewest = min((math.prod(counts) * size for counts, size in tiles.items() if size <= area), default=None)
    counts = tile_counts(height, width, reach=reach, area=area)
    assert counts == most if fewest is None else math.prod(counts) * tiles[counts] == fewest
    assert fewest is None or tiles[counts] <= area


@given(
    blocks=st.integers(1, 130),
    step=st.sampled_from([8, 24]),
    reach=st.integers(0, 60),
    size=st.integers(0, 60),
    margin=st.integers(0, 30),
)
def test_grid_tiles_cover_the_axis_once(blocks, step, reach, size, margin):
    extended = step * blocks + 8
    grid = Grid(step=step, reach=reach)
    last = max(8, extended - margin)
    tiles = grid.tiles(extended, size=grid.smallest + step * size, first=0, end=last)
    assert [part.first for part in tiles.parts] == [0, *(part.end for part in tiles.parts[:-1])]
    assert tiles.parts[-1].end == last
    for start, first, end in tiles.parts:
        assert start % step == 0
        assert first < end
        assert 0 <= start <= start + tiles.size <= extended
        assert start == 0 or first - start >= reach
        assert start + tiles.size == extended or start + tiles.size - end >= reach


@given(
    blocks=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    step=st.sampled_from([8, 24]),
    reach=st.integers(0, 40),
    area=st.integers(1, 200_000),
)
def test_grid_sizes_compute_the_fewest_pixels(blocks, step, reach, area):
    grid = Grid(step=step, reach=reach)
    height, width = (step * count + 8 for count in blocks)

    def computed(size):
        return math.prod(
            pixels * len(grid.tiles(side, size=pixels).parts)
            for pixels, side in zip(size, (height, width), strict=True)
        )

    sides = [{*range(grid.smallest, side, step), side} for side in (height, width)]
    fitting = [size for size in itertools.product(*sides) if math.prod(size) <= area]
    size = grid.sizes(height, width, area=area)
    if fitting:
        assert size in fitting
        assert computed(size) == min(map(computed, fitting))
    else:
        assert size == tuple(map(min, sides))
