"""Networks that look at the whole frame are cut into stages, whose tiles give the picture of the whole frame."""

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from clips import photograph
from goldens import generator_names, golden, golden_paths
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from whole_frame import WholeFrame

import vsparagon
from vsparagon.backends.options import RunOptions
from vsparagon.choice import make_choice
from vsparagon.geometry.extension import extension_for
from vsparagon.geometry.tiling import Grid
from vsparagon.lookup import find_model
from vsparagon.models.plan import MEAN, RESULT
from vsparagon.onnx.graph_cache import plan_stages
from vsparagon.pipelines.picture import PicturePipeline
from vsparagon.tiles.choice import TileChoice
from vsparagon.tiles.planning import plan_tiles
from vsparagon.tiles.runners import StagedRunner, open_runner
from vsparagon.tiles.tilings import ExactTiling, StagedTiling, WholeTiling

pytestmark = pytest.mark.usefixtures("whole_frames")

# Networks that look at the whole frame: with attention and gain, also with modulation, with norm, with two blocks.
GLOBAL = ["nano_x2", "micro_x3", "tiny_x4", "micro_x2_full_body"]


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """A function that opens a golden as the filter opens a model file; its graphs are exported only once."""
    pytest.importorskip("onnx", reason="stages are exported as ONNX")
    cache = str(tmp_path_factory.mktemp("cache"))
    models = {}

    def open_golden(name):
        if name not in models:
            models[name] = find_model(model=str(golden_paths()[name]), cache=cache)
        return models[name], cache

    return open_golden


def enlarged_golden(opened, name, picture, tiles=None, backend="openvino", precision="auto"):
    """Return the enlarged picture, 3,scale*H,scale*W, and the tiling that was chosen."""
    model, cache = opened(name)
    height, width = picture.shape[:2]
    choice = make_choice(model, backend=backend, precision=precision, cache=cache)
    pipeline = PicturePipeline(choice, height=height, width=width, tiles=tiles)
    target = np.empty((3, height * model.scale, width * model.scale), np.float32)
    pipeline.enlarge(list(picture.transpose(2, 0, 1)), list(target))
    return target, pipeline.tiling


@pytest.mark.parametrize("name", GLOBAL)
@settings(
    max_examples=5,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    size=st.tuples(st.integers(16, 240), st.integers(16, 240)),
    tile=st.tuples(st.integers(64, 200), st.integers(64, 200)),
    share=st.floats(0, 0.5),
)
def test_any_tile_gives_the_whole_picture_of_networks_that_look_at_all_of_it(opened, name, size, tile, share):
    picture = photograph(*size).astype(np.float32) / 255
    whole, tiling = enlarged_golden(opened, name, picture, WholeFrame())
    overlap = (int(tile[0] * share), int(tile[1] * share))
    tiled, tiles = enlarged_golden(opened, name, picture, TileChoice(size=tile, overlap=overlap))
    assert isinstance(tiling, WholeTiling)
    assert isinstance(tiles, StagedTiling)
    assert np.abs(tiled - whole).max() < 1e-5


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime", "torch"])
@pytest.mark.parametrize("name", ["nano_x2", "micro_x3"])
def test_no_seam_in_a_photograph(opened, name, backend):
    picture = photograph(260, 250).astype(np.float32) / 255
    whole, _ = enlarged_golden(opened, name, picture, WholeFrame(), backend)
    tiled, tiling = enlarged_golden(opened, name, picture, TileChoice(size=(128, 128)), backend)
    assert max(tiling.height, tiling.width) <= 128
    assert np.abs(tiled - whole).max() < 1e-5


@pytest.mark.parametrize("name", ["nano_x2", "micro_x3"])
def test_stages_without_what_they_look_at_would_show(opened, monkeypatch, name):
    picture = photograph(200, 200).astype(np.float32) / 255
    whole, _ = enlarged_golden(opened, name, picture, WholeFrame())
    grid = Grid.tiles
    monkeypatch.setattr(
        Grid, "tiles", lambda self, *args, **kw: grid(replace(self, reach=self.reach - 16), *args, **kw)
    )
    tiled, _ = enlarged_golden(opened, name, picture, TileChoice(size=(64, 64)))
    assert np.abs(tiled - whole).max() > 1e-4


def test_memory_decides_between_whole_and_stages(opened):
    model, cache = opened("micro_x3")
    extension = extension_for(1080, 1920)
    kinds, frames = [], []
    for memory_mb in (40_000, 3000, 500):
        tiling = plan_tiles(TileChoice(memory_mb=memory_mb), model, extension, streams=2, cache=Path(cache))
        kinds.append(type(tiling))
        if isinstance(tiling, StagedTiling):
            frames.append(tiling.frames)
            held = plan_stages(model.checkpoint, Path(cache)).kept_channels * 4 * 1112 * 1952
            assert (
                tiling.frames * (held + 2 * tiling.height * tiling.width * model.bytes_per_pixel) <= memory_mb * 2**20
            )
    assert kinds == [WholeTiling, StagedTiling, StagedTiling]
    assert frames == [2, 1]
    with pytest.raises(vsparagon.InvalidInput, match=r"memory_mb is 50; .* needs \d+ for a frame of this size"):
        plan_tiles(TileChoice(memory_mb=50), model, extension, streams=2, cache=Path(cache))


def test_frames_too_large_for_the_memory_there_is_are_taken_in_stages_or_whole(opened, monkeypatch):
    model, cache = opened("micro_x3")
    monkeypatch.setattr("vsparagon.tiles.planning.available_memory", lambda: 2000)
    for checkpoint, kind in ((model.checkpoint, StagedTiling), (None, WholeTiling)):
        given = replace(model, checkpoint=checkpoint)
        tiling = plan_tiles(TileChoice(), given, extension_for(1080, 1920), streams=2, cache=Path(cache))
        assert isinstance(tiling, kind)


def test_networks_that_look_very_far_are_cut_into_stages(opened):
    model, cache = opened("micro_x3")
    where = {"extension": extension_for(1080, 1920), "streams": 1, "cache": Path(cache)}
    for reach, kind in ((48, ExactTiling), (49, StagedTiling)):
        assert isinstance(plan_tiles(TileChoice(size=(200, 200)), replace(model, sight=reach), **where), kind)


def test_stages_take_tiles_of_the_size_asked_for(opened):
    model, cache = opened("micro_x3")
    choice = TileChoice(size=(400, 300), overlap=(139, 8))
    tiling = plan_tiles(choice, model, extension_for(1080, 1920), streams=1, cache=Path(cache))
    assert (tiling.height, tiling.width) == (392, 296), "the largest of whole windows"
    assert tiling.grid.reach == 70, "half of the overlap on each side"


def test_stages_take_no_more_frames_at_once_than_planned(opened, monkeypatch):
    model, cache = opened("nano_x2")
    monkeypatch.setattr("vsparagon.onnx.graph_cache.FEW", 1)
    choice = make_choice(model, backend="openvino", num_streams=4, cache=cache)
    pipeline = PicturePipeline(choice, height=48, width=64, tiles=TileChoice(size=(64, 64)))
    assert pipeline.in_flight == 1
    running, most, extended = [], 0, StagedRunner._extended

    @contextmanager
    def noted(self, source):
        nonlocal most
        running.append(source)
        most = max(most, len(running))
        with extended(self, source) as picture:
            yield picture
        running.pop()

    monkeypatch.setattr(StagedRunner, "_extended", noted)
    source, target = np.zeros((3, 48, 64), np.float32), np.empty((3, 96, 128), np.float32)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: pipeline.enlarge(source, target), range(8)))
    assert most == 1


@pytest.mark.parametrize("size", [(1080, 1920), (16, 1920), (1080, 16)], ids=str)
def test_stages_fit_into_the_memory_that_is_said_to_be_needed(opened, size):
    model, cache = opened("micro_x3")
    where = {"extension": extension_for(*size), "streams": 3, "cache": Path(cache)}
    with pytest.raises(vsparagon.InvalidInput, match=r"needs \d+") as refused:
        plan_tiles(TileChoice(memory_mb=1), model, **where)
    least = int(re.search(r"needs (\d+)", str(refused.value))[1])
    tiling = plan_tiles(TileChoice(memory_mb=least), model, **where)
    held = tiling.plan.kept_channels * 4 * where["extension"].extended_height * where["extension"].extended_width
    used = held + len(tiling.plan.stages) * tiling.height * tiling.width * model.bytes_per_pixel
    assert (least - 1) * 2**20 < used <= least * 2**20
    asked = []
    backend = SimpleNamespace(open_stages=lambda plan, build, run: asked.append(run.streams))
    options = RunOptions(threads=4, streams=3, cache=Path(cache))
    runner = open_runner(tiling, model, where["extension"], backend=backend, precision="fp32", options=options)
    assert runner.in_flight == 1
    assert asked == [1], "there must be one slot for each picture in flight"


@pytest.mark.parametrize("tiles", [{"size": (64, 64)}, {"memory_mb": 50}], ids=str)
def test_stages_need_a_checkpoint(opened, tiles):
    model, cache = opened("micro_x3")
    alone = replace(model, checkpoint=None)
    with pytest.raises(vsparagon.InvalidInput, match="give its checkpoint as model="):
        plan_tiles(TileChoice(**tiles), alone, extension_for(1080, 1920), streams=1, cache=Path(cache))


def test_plan_names_each_thing_before_it_is_taken(opened):
    model, cache = opened("micro_x2_full_body")
    known = {"picture"}
    stages = plan_stages(model.checkpoint, Path(cache)).stages
    for stage in stages:
        assert known.issuperset(stage.inputs)
        known.update(stage.outputs)
    assert [RESULT in stage.outputs for stage in stages] == [False, False, True]


@pytest.mark.parametrize("name", generator_names())
def test_stages_look_as_far_as_they_say(name):
    torch = pytest.importorskip("torch", reason="stages are torch modules")
    from vsparagon.models.inference import inference_form
    from vsparagon.models.stages import channels_of, cut

    form = inference_form(golden(name).generator())
    parts, side, first, last = cut(form), 128, 64, 72
    channels = channels_of(parts)
    assert any(part.stage.has_windows for part in parts) == form.options.use_attention
    torch.manual_seed(0)
    for stage, module in ((part.stage, part.module) for part in parts if not part.stage.has_windows):
        sides = {known: 1 if known.startswith(MEAN) else side for known in stage.inputs}
        given = [torch.rand(1, channels[known], s, s, requires_grad=True) for known, s in sides.items()]
        maps = [tensor for tensor in given if tensor.shape[2] == side]
        looked = 0
        for made in module(given):
            place = slice(first * made.shape[2] // side, last * made.shape[2] // side)
            seen = torch.autograd.grad(made[..., place, place].sum(), maps, retain_graph=True, allow_unused=True)
            for gradient in (gradient for gradient in seen if gradient is not None):
                rows = gradient.abs().sum((0, 1, 3)).nonzero()
                looked = max(looked, first - rows.min().item(), rows.max().item() + 1 - last)
        assert looked == stage.reach, stage


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime", "torch"])
def test_many_stages_are_opened_one_after_the_other(opened, monkeypatch, backend):
    picture = photograph(100, 150).astype(np.float32) / 255
    tiles = TileChoice(size=(128, 128))
    few, tiling = enlarged_golden(opened, "micro_x3", picture, tiles, backend)
    monkeypatch.setattr("vsparagon.onnx.graph_cache.FEW", 1)
    many, long_tiling = enlarged_golden(opened, "micro_x3", picture, tiles, backend)
    assert tiling.frames >= long_tiling.frames == 1
    np.testing.assert_allclose(many, few, rtol=0, atol=1e-5)


def test_cache_may_be_cleared_while_many_stages_are_in_use(tmp_path, monkeypatch):
    monkeypatch.setattr("vsparagon.onnx.graph_cache.FEW", 1)
    cache = str(tmp_path / "cache")
    choice = make_choice(find_model(model=str(golden_paths()["micro_x3"]), cache=cache), cache=cache)
    pipeline = PicturePipeline(choice, height=100, width=150, tiles=TileChoice(size=(128, 128)))
    picture = list(photograph(100, 150).astype(np.float32).transpose(2, 0, 1) / 255)
    results = np.empty((2, 3, 300, 450), np.float32)
    pipeline.enlarge(picture, list(results[0]))
    shutil.rmtree(cache)
    pipeline.enlarge(picture, list(results[1]))
    assert np.array_equal(results[0], results[1])
