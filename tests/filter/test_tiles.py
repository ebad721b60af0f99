"""Tiles of any size give the picture of the whole frame."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clips import clip_of, photograph
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from skimage import data
from whole_frame import WholeFrame

import vsparagon
from vsparagon.choice import make_choice
from vsparagon.geometry.extension import extension_for
from vsparagon.models.bundled import bundled_models
from vsparagon.pipelines.picture import PicturePipeline
from vsparagon.tiles.choice import TileChoice
from vsparagon.tiles.planning import FAST_AREA, FAST_MEMORY, plan_tiles
from vsparagon.tiles.tilings import ExactTiling, WholeTiling

pytestmark = pytest.mark.usefixtures("whole_frames")

MODELS = {model.name: model for model in bundled_models()}


def enlarged(model, picture, tiles=None, backend="openvino"):
    """Return the enlarged picture, 3,scale*H,scale*W, and the tiling that was chosen."""
    height, width = picture.shape[:2]
    pipeline = PicturePipeline(make_choice(model, backend=backend), height=height, width=width, tiles=tiles)
    target = np.empty((3, height * model.scale, width * model.scale), np.float32)
    pipeline.enlarge(list(picture.transpose(2, 0, 1)), list(target))
    return target, pipeline.tiling


CLEAN = {name: model for name, model in MODELS.items() if name.endswith("clean")}  # the others have the same shapes


@pytest.mark.parametrize("model", CLEAN.values(), ids=CLEAN)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    height=st.integers(1, 300), width=st.integers(1, 300), tile=st.tuples(st.integers(64, 200), st.integers(64, 200))
)
def test_any_tile_of_any_frame_gives_the_whole_picture(model, height, width, tile):
    picture = photograph(height, width).astype(np.float32) / 255
    whole, tiling = enlarged(model, picture, WholeFrame())
    tiled, tiles = enlarged(model, picture, TileChoice(size=tile))
    assert isinstance(tiling, WholeTiling)
    assert isinstance(tiles, ExactTiling)
    assert tiles.height <= max(tile[0], 64)
    assert tiles.width <= max(tile[1], 64)
    assert np.abs(tiled - whole).max() < 1e-5


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime", "torch"])
def test_default_is_tiles_and_gives_the_whole_picture(backend, monkeypatch):
    monkeypatch.setattr("vsparagon.tiles.planning.FAST_MEMORY", 0)
    model = MODELS["nano x2 clean"]
    picture = data.astronaut()[:400].astype(np.float32) / 255
    whole, _ = enlarged(model, picture, WholeFrame(), backend)
    tiled, tiling = enlarged(model, picture, None, backend)
    assert isinstance(tiling, ExactTiling)
    assert tiling.height * tiling.width <= FAST_AREA
    assert np.abs(tiled - whole).max() < 1e-5


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_default_tiles_share_their_memory(model):
    extension = extension_for(1080, 1920)
    areas = []
    for streams in (1, 2, 4, 8, 16, 64):
        tiling = plan_tiles(TileChoice(), model, extension, streams=streams, cache=Path())
        areas.append(tiling.height * tiling.width)
        together = areas[-1] * model.bytes_per_pixel * (streams + 1)
        assert together <= FAST_MEMORY or areas[-1] <= FAST_AREA
    assert areas == sorted(areas, reverse=True)
    assert areas[0] > 2 * FAST_AREA
    assert areas[-1] > FAST_AREA / 2


def test_networks_that_look_far_are_taken_whole_where_memory_allows(monkeypatch):
    far, extension = replace(MODELS["nano x2 clean"], sight=30), extension_for(1080, 1920)
    tiles = {}
    for mebibytes in (400, 6000, 100_000):
        monkeypatch.setattr("vsparagon.tiles.planning.available_memory", lambda most=mebibytes: most)
        tiling = plan_tiles(TileChoice(), far, extension, streams=1, cache=Path())
        assert isinstance(tiling, ExactTiling)
        tiles[mebibytes] = tiling.height * tiling.width
        together = tiles[mebibytes] * far.bytes_per_pixel * 2
        assert together <= max(FAST_MEMORY, mebibytes * 2**20 // 4)
    whole = extension.extended_height * extension.extended_width
    assert tiles[400] < tiles[6000] < tiles[100_000] == whole
    areas = []
    for memory_mb in (200, 600, 1200):
        bounded = plan_tiles(TileChoice(memory_mb=memory_mb), far, extension, streams=1, cache=Path())
        areas.append(bounded.height * bounded.width)
        assert areas[-1] * far.bytes_per_pixel * 2 <= memory_mb * 2**20
    assert areas[0] < tiles[400] < areas[1] < areas[2]


def test_tiles_without_what_they_look_at_would_show(monkeypatch):
    model = MODELS["nano x2 clean"]
    monkeypatch.setattr("vsparagon.tiles.planning.FAST_MEMORY", 0)
    monkeypatch.setattr("vsparagon.tiles.planning.FAST_AREA", 10_000)
    picture = photograph(200, 200).astype(np.float32) / 255
    whole, _ = enlarged(model, picture, WholeFrame())
    short = replace(model, sight=model.reach - 1)
    monkeypatch.setattr("vsparagon.geometry.tiling.MARGIN", model.reach - 1)
    monkeypatch.setattr("vsparagon.geometry.extension.MARGIN", model.reach - 1)
    monkeypatch.setattr("vsparagon.tiles.runners.MARGIN", model.reach - 1)
    tiled, _ = enlarged(short, picture)
    assert np.abs(tiled - whole).max() > 3e-5, "a smaller reach must show"


def test_smaller_memory_gives_smaller_tiles():
    model = MODELS["nano x2 clean"]
    extension = extension_for(1080, 1920)
    tilings = [plan_tiles(TileChoice(memory_mb=mb), model, extension, streams=2, cache=Path()) for mb in (0, 50, 20)]
    areas = [tiling.height * tiling.width for tiling in tilings]
    assert areas[0] > areas[1] > areas[2]
    assert areas[1] * 3 * model.bytes_per_pixel <= 50 * 2**20


def test_filter_takes_tiles():
    clip = clip_of([photograph(120, 160)])
    plain = vsparagon.upscale(clip).get_frame(0)
    for arguments in ({"tilesize": 64}, {"tilesize": [100, 64], "overlap": [50, 0]}, {"memory_mb": 20}):
        tiled = clip.paragon.Upscale(**arguments).get_frame(0)
        for plane in range(3):
            difference = np.abs(np.asarray(plain[plane]).astype(int) - np.asarray(tiled[plane]))
            assert difference.max() <= 1


@pytest.mark.parametrize(
    ("tiles", "message"),
    [
        ({"size": (63, 100)}, "tilesize is 100x63; each side must be at least 64"),
        ({"overlap": (8, 8)}, "overlap is 8x8, but there is no tilesize; give tilesize=, too"),
        ({"overlap": (-4, 8), "size": (64, 64)}, "overlap is 8x-4; it must be at least 0"),
        ({"size": (64, 64), "overlap": (40, 8)}, "overlap is 8x40, more than half of tilesize, 64x64"),
        ({"memory_mb": 1}, "memory_mb is 1; the smallest tiles need 3"),
        ({"memory_mb": -1}, "memory_mb is -1"),
    ],
)
def test_tiles_that_cannot_be(tiles, message):
    with pytest.raises(vsparagon.InvalidInput, match=message):
        plan_tiles(TileChoice(**tiles), MODELS["nano x2 clean"], extension_for(100, 100), streams=1, cache=Path())


def test_tiles_of_margins_alone_cannot_be():
    model = MODELS["nano x2 clean"]
    where = {"extension": extension_for(100, 100), "streams": 1, "cache": Path()}
    assert plan_tiles(TileChoice(size=(64, 64)), replace(model, sight=31), **where).height == 64
    with pytest.raises(vsparagon.InvalidInput, match="each side of tilesize must be more than 64 for nano x2 clean"):
        plan_tiles(TileChoice(size=(64, 64)), replace(model, sight=32), **where)


@pytest.mark.needs_bf16
@pytest.mark.parametrize(
    ("name", "share", "most"),
    [
        ("nano x2 clean", 2e-3, 2.5),
        ("micro x2 clean", 1e-4, 1.5),
        ("swift x2 clean", 1e-3, 2),
        ("swift_plus x2 clean", 5e-3, 4),
    ],
)
def test_bf16_is_close_to_float32(name, share, most):
    model = MODELS[name]
    picture = data.coffee()[:200, 100:400].astype(np.float32) / 255
    results = []
    for precision in ("fp32", "bf16"):
        pipeline = PicturePipeline(
            make_choice(model, backend="openvino", precision=precision), height=200, width=300, tiles=WholeFrame()
        )
        results.append(np.empty((3, 400, 600), np.float32))
        pipeline.enlarge(list(picture.transpose(2, 0, 1)), list(results[-1]))
    steps = 255 * np.abs(results[0].clip(0, 1) - results[1].clip(0, 1))
    assert (steps > 1).mean() < share
    assert 0 < steps.max() < most
    assert steps.mean() < 0.25  # 0.3 to 0.6 with the base in bfloat16
