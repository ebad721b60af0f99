"""Tiles give the picture of the whole frame, whatever their size."""

import numpy as np
import pytest
from clips import clip_of, photograph
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from skimage import data

import vsparagon
from vsparagon.extend import extension_for
from vsparagon.library import bundled_models
from vsparagon.pipeline import FAST_AREA, Pipeline, TileChoice
from vsparagon.runtime import choose_runtime
from vsparagon.tiling import blended_tiles, exact_tiles, tile_counts
from vsparagon.ways import Exact, Whole

MODELS = {model.name: model for model in bundled_models()}


def enlarged(model, picture, tiles=None, backend="openvino"):
    """The enlargement by one way: planes, scale*H, scale*W."""
    height, width = picture.shape[:2]
    pipeline = Pipeline(choose_runtime(model, backend=backend), height=height, width=width, tiles=tiles)
    target = np.empty((3, height * model.scale, width * model.scale), np.float32)
    pipeline.enlarge(list(picture.transpose(2, 0, 1)), list(target))
    return target, pipeline.way


class WholeFrame(TileChoice):
    """The frame at once, as a reference."""

    def way(self, model, extension, slots):
        return Whole(model, extension)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    height=st.integers(16, 300), width=st.integers(16, 300), tile=st.tuples(st.integers(64, 200), st.integers(64, 200))
)
def test_any_tile_of_any_frame_gives_the_whole_picture(model, height, width, tile):
    picture = photograph(height, width).astype(np.float32) / 255
    whole, way = enlarged(model, picture, WholeFrame())
    tiled, tiles = enlarged(model, picture, TileChoice(size=tile))
    assert isinstance(way, Whole)
    assert isinstance(tiles, Exact)
    assert tiles.height <= max(tile[0], 64)
    assert tiles.width <= max(tile[1], 64)
    assert np.abs(tiled - whole).max() < 1e-5


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime", "torch"])
def test_default_is_tiles_and_gives_the_whole_picture(backend):
    model = MODELS["nano x2 clean"]
    picture = data.astronaut()[:400].astype(np.float32) / 255
    whole, _ = enlarged(model, picture, WholeFrame(), backend)
    tiled, way = enlarged(model, picture, None, backend)
    assert isinstance(way, Exact)
    assert way.height * way.width <= FAST_AREA
    assert np.abs(tiled - whole).max() < 1e-5


def test_tiles_without_what_they_look_at_would_show(monkeypatch):
    model = MODELS["nano x2 clean"]
    monkeypatch.setattr("vsparagon.pipeline.FAST_AREA", 10_000)
    picture = photograph(200, 200).astype(np.float32) / 255
    whole, _ = enlarged(model, picture, WholeFrame())
    short = type(model)(**{**vars(model), "reach": model.reach - 1})
    monkeypatch.setattr("vsparagon.tiling.MARGIN", model.reach - 1)
    monkeypatch.setattr("vsparagon.extend.MARGIN", model.reach - 1)
    monkeypatch.setattr("vsparagon.ways.MARGIN", model.reach - 1)
    tiled, _ = enlarged(short, picture)
    assert np.abs(tiled - whole).max() > 3e-5, "the reach is not larger than it has to be"


def test_smaller_memory_gives_smaller_tiles():
    model = MODELS["nano x2 clean"]
    extension = extension_for(1080, 1920)
    areas = [
        way.height * way.width for way in (TileChoice(memory_mb=mb).way(model, extension, 3) for mb in (0, 100, 30))
    ]
    assert areas[0] > areas[1] > areas[2]
    assert areas[1] * 3 * 1000 <= 100 * 2**20


def test_filter_takes_tiles():
    clip = clip_of([photograph(120, 160)])
    plain = vsparagon.upscale(clip).get_frame(0)
    for arguments in ({"tilesize": 64}, {"tilesize": [100, 64], "overlap": [32, 24]}, {"memory_mb": 20}):
        tiled = clip.paragon.Upscale(**arguments).get_frame(0)
        for plane in range(3):
            difference = np.abs(np.asarray(plain[plane]).astype(int) - np.asarray(tiled[plane]))
            assert difference.max() <= 1


@pytest.mark.parametrize(
    ("tiles", "message"),
    [
        ({"size": (63, 100)}, "tilesize is 100x63; at least 64 each way is needed"),
        ({"overlap": (8, 8)}, "overlap goes with tilesize"),
        ({"size": (64, 64), "overlap": (40, 8)}, "overlap is more than half of tilesize"),
        ({"size": (64, 64), "overlap": (8, 8)}, "nano x2 clean needs at least 16"),
        ({"memory_mb": -1}, "memory_mb is -1"),
    ],
)
def test_tiles_that_cannot_be(tiles, message):
    with pytest.raises(vsparagon.InvalidInput, match=message):
        TileChoice(**tiles).way(MODELS["nano x2 clean"], extension_for(100, 100), 2)


@given(pixels=st.integers(16, 3000), reach=st.integers(8, 60), count=st.integers(1, 40))
def test_exact_tiles_cover_each_pixel_once_with_all_around_it(pixels, reach, count):
    extended = extension_for(pixels, pixels).extended_height
    tiles = exact_tiles(pixels, extended, reach=reach, count=min(count, pixels))
    assert [first for _, first, _ in tiles.parts] == [0, *(last for _, _, last in tiles.parts[:-1])]
    assert tiles.parts[-1][2] == pixels
    for start, first, last in tiles.parts:
        assert 0 <= start <= start + tiles.size <= extended
        assert start == 0 or first + 8 - start >= reach
        assert start + tiles.size == extended or start + tiles.size - (last + 8) >= reach


@given(
    pixels=st.integers(16, 3000), size=st.integers(16, 400), share=st.floats(0, 0.5), scale=st.sampled_from([1, 2, 3])
)
def test_blended_tiles_sum_to_one(pixels, size, share, scale):
    size = min(size, pixels)
    tiles = blended_tiles(pixels, size=size, overlap=int(size * share), scale=scale)
    total = np.zeros(pixels * scale)
    for start, weights in zip(tiles.starts, tiles.weights, strict=True):
        total[start * scale : (start + size) * scale] += weights
    np.testing.assert_allclose(total, 1, atol=1e-5)


@given(height=st.integers(16, 2200), width=st.integers(16, 4100), reach=st.sampled_from([8, 9, 20]))
def test_tile_counts_keep_to_the_area(height, width, reach):
    rows, columns = tile_counts(height, width, reach=reach, area=FAST_AREA)
    assert (-(-height // rows) + 2 * reach) * (-(-width // columns) + 2 * reach) <= FAST_AREA
