"""Frames on a device, for which the CPU stands in here: memory, order, errors, and how the filter uses it."""

import gc
import os
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import vapoursynth as vs
from clips import arrays, assert_same_planes, clip_in, numbered, photograph
from goldens import golden_paths

torch = pytest.importorskip("torch", reason="devices are reached through torch")

from vsparagon import Upscaler  # noqa: E402
from vsparagon.backends.frame_session import FrameSession  # noqa: E402
from vsparagon.backends.torch import Torch  # noqa: E402
from vsparagon.backends.torch.cuda import Eager, TorchCuda  # noqa: E402
from vsparagon.choice import make_choice  # noqa: E402
from vsparagon.device.executor import Executor  # noqa: E402
from vsparagon.device.failures import device_errors  # noqa: E402
from vsparagon.device.lanes import QUEUING, Lane, Staging  # noqa: E402
from vsparagon.errors import BackendFailure, OutOfDeviceMemory  # noqa: E402
from vsparagon.lookup import find_model  # noqa: E402
from vsparagon.pipelines import frame as frame_pipeline  # noqa: E402
from vsparagon.pipelines.frame import FRAMES_PER_LANE, FramePipeline  # noqa: E402

core = vs.core


@pytest.fixture
def device(monkeypatch):
    """Give the backend torch a device: the CPU, without streams and recordings, but otherwise like a GPU."""
    monkeypatch.setattr(Torch, "on", lambda self, device_id: TorchCuda("cpu", "a stand-in"))


def on_device(clip, **arguments):
    return core.paragon.Upscale(clip, backend="torch", precision=arguments.pop("precision", "fp32"), **arguments)


def by_resizer(clip, **arguments):
    return core.paragon.Upscale(clip, backend="onnxruntime", **arguments)


def assert_same(result, expected):
    assert (result.format.id, result.width, result.height) == (expected.format.id, expected.width, expected.height)
    for frame, reference in zip(result.frames(), expected.frames(), strict=True):
        assert dict(frame.props) == dict(reference.props)
        assert_same_planes(arrays(frame), arrays(reference), result.format)


@pytest.mark.parametrize(
    "format_id",
    [vs.YUV420P8, vs.YUV420P10, vs.YUV422P16, vs.YUV444P12, vs.YUV411P8, vs.YUV420PS, vs.YUV444PH, vs.RGB24, vs.RGB48,
     vs.RGBS, vs.GRAY8, vs.GRAY16, vs.GRAYH],
)  # fmt: skip
def test_frames_are_those_of_the_resizers_way_and_go_another(format_id, device, monkeypatch):
    clip = clip_in(format_id)
    expected = by_resizer(clip)

    def never(*arguments):
        raise AssertionError("the resizer was asked")

    for way in ("to_rgb", "to_gray"):
        monkeypatch.setattr(f"vsparagon.chains.{way}", never)
    assert_same(on_device(clip), expected)


@pytest.mark.parametrize("size", [(16, 16), (18, 34), (50, 202)])
def test_any_size(size, device):
    clip = clip_in(vs.YUV420P8, size=size)
    assert_same(on_device(clip), by_resizer(clip))


@pytest.mark.parametrize("format_id", [vs.YUV444P16, vs.RGB24, vs.GRAY10])
def test_another_format_comes_out(format_id, device):
    clip = clip_in(vs.YUV420P8)
    assert_same(on_device(clip, format=format_id), by_resizer(clip, format=format_id))


@pytest.mark.parametrize("arguments", [{}, {"format": vs.RGB24}, {"format": vs.GRAY8}, {"width": 100, "height": 80}])
def test_only_luma_is_upscaled_there_if_the_resizer_is_to_upscale_chroma(arguments, device):
    clip = clip_in(vs.YUV420P10)
    assert_same(on_device(clip, chroma="resizer", **arguments), by_resizer(clip, chroma="resizer", **arguments))


def test_a_gray_clip_of_a_size_of_your_own(device):
    clip = clip_in(vs.GRAY8)
    assert_same(on_device(clip, width=100, height=80), by_resizer(clip, width=100, height=80))


@pytest.mark.parametrize("full", [0, 1])
@pytest.mark.parametrize("format_id", [vs.YUV444P8, vs.YUV420P10])
def test_ycgco_becomes_rgb_and_back(format_id, full, device):
    rgb = clip_in(vs.RGB24)
    clip = rgb.resize.Bicubic(format=format_id, matrix=8, range=full)
    assert_same(on_device(clip, format=vs.RGB24), by_resizer(clip, format=vs.RGB24))
    arguments = {"format": format_id, "matrix": "ycgco"}
    assert_same(on_device(rgb, **arguments), by_resizer(rgb, **arguments))


@pytest.mark.parametrize("subsampling", [(2, 0), (0, 2), (2, 2)])
def test_chroma_of_few_samples_is_mirrored_as_by_the_resizer(subsampling, device):
    clip = clip_in(vs.RGB24, size=(2, 2))
    coarse = core.core.query_video_format(vs.YUV, vs.INTEGER, 16, *subsampling).id
    assert_same(on_device(clip, format=coarse), by_resizer(clip, format=coarse))


def test_memory_for_a_small_clip_is_enough(device):
    clip = clip_in(vs.YUV420P8, size=(40, 40))
    assert_same(on_device(clip, memory_mb=1000), by_resizer(clip))


def test_half_precision_is_within_one_step_of_8_bit(device):
    clip = clip_in(vs.YUV420P8)
    assert_same(on_device(clip, precision="auto"), by_resizer(clip))


@pytest.mark.parametrize(
    ("properties", "arguments", "reason"),
    [
        ({}, {"width": 100, "height": 80}, "a size of your own"),
        ({}, {"width": 128, "height": 80}, "a size of your own"),
        ({"_Matrix": 10, "_Transfer": 14, "_Primaries": 9}, {}, "the matrix 2020cl"),
    ],
    ids=["size", "height", "matrix"],
)
def test_what_the_device_cannot_convert_goes_the_resizers_way(properties, arguments, reason, device, caplog):
    clip = clip_in(vs.YUV420P10).std.SetFrameProps(**properties)
    with caplog.at_level("INFO"):
        result = on_device(clip, **arguments)
    assert f"by VapourSynth's resizer on the CPU, which {reason} needs" in caplog.text
    assert_same(result, by_resizer(clip, **arguments))


def test_both_ways_in_one_film_are_opened_once_each(device, monkeypatch):
    opened, original = [], TorchCuda.prepare
    monkeypatch.setattr(TorchCuda, "prepare", lambda self, *given: opened.append(given) or original(self, *given))
    known = clip_in(vs.YUV420P10, 2)
    clip = known + known.std.SetFrameProps(_Matrix=10, _Transfer=14, _Primaries=9) + known
    assert_same(on_device(clip), by_resizer(clip))
    assert len(opened) == 2


def test_frames_on_the_device_are_not_said_to_go_the_resizers_way(device, caplog):
    with caplog.at_level("INFO"):
        on_device(clip_in(vs.YUV420P10))
    assert "nano x2 clean on torch, fp32, a stand-in" in caplog.text
    assert "resizer" not in caplog.text


def test_colours_that_change_share_lanes(device, monkeypatch):
    made = []
    original = Lane.__init__

    def spy(self, *arguments):
        made.append(self)
        original(self, *arguments)

    monkeypatch.setattr(Lane, "__init__", spy)
    limited = clip_in(vs.YUV420P8, 2)
    clip = limited + limited.std.SetFrameProps(_Range=1) + limited.std.SetFrameProps(_Matrix=6)
    result = on_device(clip, num_streams=2)
    assert_same(result, by_resizer(clip))
    assert len(made) == 2
    means = [arrays(result.get_frame(n))[1].mean() for n in range(6)]
    assert means[0] == means[1]


def test_alpha_is_enlarged_along(device):
    clip = clip_in(vs.YUV420P8).std.ClipToProp(clip_in(vs.GRAY8), prop="_Alpha")
    ours, theirs = (way(clip).get_frame(0).props["_Alpha"] for way in (on_device, by_resizer))
    assert (arrays(ours)[0] == arrays(theirs)[0]).all()
    assert (ours.width, ours.height) == (128, 96)


@pytest.mark.parametrize("streams", [1, 3])
def test_frames_come_in_order_through_a_few_lanes_whose_memory_stays(streams, device, monkeypatch):
    addresses, buffers, running, most, lock = set(), set(), 0, 0, threading.Lock()
    queue, enlarge = Staging.queue, FrameSession.enlarge

    def queued(self, lane, executor):
        tensors = [*lane.inputs.values(), *lane.outputs.values()]
        addresses.add(tuple(tensor.data_ptr() for tensor in tensors))
        buffers.add(self)
        queue(self, lane, executor)

    def enlarged(self, source, target):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        enlarge(self, source, target)
        with lock:
            running -= 1

    monkeypatch.setattr(Staging, "queue", queued)
    monkeypatch.setattr(FrameSession, "enlarge", enlarged)
    frames = on_device(numbered(60), num_streams=streams).frames(prefetch=8)
    seen = [round(arrays(frame)[0].mean()) for frame in frames]
    assert all(abs(grey - (n % 200 + 20)) <= 1 for n, grey in enumerate(seen))
    assert len(addresses) == streams
    in_flight = max(streams, min(FRAMES_PER_LANE * streams, getattr(os, "process_cpu_count", os.cpu_count)()))
    assert len(buffers) <= in_flight
    assert most <= in_flight


@pytest.mark.parametrize(("threads", "in_flight"), [(16, 6), (5, 5), (1, 2)])
def test_a_few_frames_for_each_lane_are_in_flight_if_there_are_threads(threads, in_flight, device):
    choice = make_choice(find_model(), backend="torch", num_streams=2)
    choice = replace(choice, options=replace(choice.options, threads=threads))
    assert FramePipeline(choice, height=48, width=64).in_flight == in_flight


def test_pinned_memory_is_taken_when_it_is_needed(device, monkeypatch):
    made, original = [], Staging.__init__
    monkeypatch.setattr(Staging, "__init__", lambda self, *given: (made.append(self), original(self, *given))[1])
    result = on_device(numbered(6), num_streams=1)
    for n in range(6):
        result.get_frame(n).close()
    assert len(made) == 1


def test_two_filters_in_one_script_do_not_wait_for_each_other_for_ever(device):
    threads = core.num_threads
    core.num_threads = 1
    try:
        twice = on_device(on_device(numbered(12), num_streams=1), num_streams=1)
        again = on_device(twice.resize.Point(64, 48), num_streams=1)
        beside = core.std.StackHorizontal([twice, again])
        with ThreadPoolExecutor(1) as pool:
            frames = pool.submit(lambda: [arrays(frame)[0].mean() for frame in beside.frames(prefetch=4)])
            assert [round(mean) for mean in frames.result(timeout=120)] == pytest.approx(range(20, 32), abs=2)
    finally:
        core.num_threads = threads


def test_pictures_go_through_the_device_too(device):
    picture = photograph(48, 64)
    ours, theirs = (Upscaler(backend=name, precision="fp32")(picture) for name in ("torch", "onnxruntime"))
    assert np.abs(ours.astype(int) - theirs).max() <= 1


@pytest.mark.parametrize(
    ("arguments", "count"),
    [({"tilesize": [80, 72]}, 25), ({"memory_mb": 30}, 6), ({"memory_mb": 100}, 2), ({"memory_mb": 4000}, 1)],
    ids=str,
)
def test_tiles_that_are_asked_for_are_used(arguments, count, device, monkeypatch):
    from vsparagon.models import frame

    tiles = []
    original = frame.FrameNetwork.__init__

    def spy(self, *given, **named):
        tiles.append(named["tiles"])
        original(self, *given, **named)

    monkeypatch.setattr(frame.FrameNetwork, "__init__", spy)
    clip = clip_in(vs.YUV420P8, size=(240, 320))
    result = on_device(clip, **arguments)
    assert_same(result, by_resizer(clip))
    if count == 1:
        assert tiles == [None], "whole frames are the fastest, so they must be used if there is enough memory"
    else:
        assert len(tiles[0][0].parts) * len(tiles[0][1].parts) == count


class ShortOfMemory(TorchCuda):
    """A backend with too little memory for frames in fewer than a number of tiles."""

    def __init__(self, least_tiles):
        super().__init__("cpu", "a small stand-in")
        self._least = least_tiles

    def open_executor(self, graph, inputs, outputs):
        tiles = graph.frame.tiles
        if tiles is None or len(tiles[0].parts) * len(tiles[1].parts) < self._least:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nThings to know")
        return super().open_executor(graph, inputs, outputs)


@pytest.mark.parametrize(("arguments", "count"), [({}, 15), ({"tilesize": [200, 256]}, 25)], ids=["whole", "in tiles"])
def test_too_little_memory_is_tried_once_more_in_smaller_tiles(arguments, count, monkeypatch, caplog):
    monkeypatch.setattr(Torch, "on", lambda self, device_id: ShortOfMemory(5))
    clip = clip_in(vs.YUV420P8, size=(200, 240))
    with caplog.at_level("WARNING"):
        result = on_device(clip, **arguments)
    assert "a small stand-in failed: CUDA out of memory. Tried to allocate 20.00 GiB." in caplog.text
    assert f"Trying once more with each frame in {count} tiles." in caplog.text
    assert_same(result, by_resizer(clip))


def test_memory_that_torch_keeps_for_later_is_given_back_before_a_library_asks_for_its_own(monkeypatch):
    done, opened = [], FramePipeline._open

    def given_back():
        assert QUEUING.locked(), "without the lock, another filter's recording would be disturbed"
        done.append("given back")

    monkeypatch.setattr(frame_pipeline, "release_memory", given_back)
    monkeypatch.setattr(FramePipeline, "_open", lambda *given: done.append("opened") or opened(*given))
    monkeypatch.setattr(Torch, "on", lambda self, device_id: ShortOfMemory(2))
    on_device(clip_in(vs.YUV420P8, size=(200, 240)))
    assert done == ["given back", "opened", "given back", "opened"]


@pytest.mark.parametrize(("error", "tries"), [(BackendFailure, 1), (OutOfDeviceMemory, 4)])
def test_colours_that_cannot_be_opened_are_not_tried_again_for_each_frame(error, tries, device, monkeypatch):
    """Opening may mean minutes of building; only a lack of memory may pass."""
    prepare, tried = TorchCuda.prepare, []

    class Allocated:
        pass

    def fail(self, frame, run):
        if frame.source.matrix != 1:  # BT.709, as the first frames
            allocated = Allocated()
            tried.append(weakref.ref(allocated))
            try:
                raise RuntimeError("a library's own")
            except RuntimeError as cause:
                raise error("no engine can be built.") from cause
        return prepare(self, frame, run)

    monkeypatch.setattr(TorchCuda, "prepare", fail)
    parts = [clip_in(vs.YUV420P8, size=(48, 64)).std.SetFrameProp("_Matrix", intval=code) for code in (1, 6)]
    result = on_device(parts[0] + parts[1].std.Loop(3))
    result.get_frame(0).close()
    for n in (len(parts[0]), len(parts[0]) + 1):
        with pytest.raises(vs.Error, match=rf"frame {n}: no engine can be built\."):
            result.get_frame(n)
    assert len(tried) == tries
    gc.collect()
    assert not any(allocated() for allocated in tried), "the error that is kept keeps nothing else"


LOOKS_AT_ALL = str(golden_paths()["nano_x2"])  # a device cannot run it in tiles


@pytest.mark.parametrize("model", ["", LOOKS_AT_ALL], ids=["in tiles", "no tiles"])
def test_too_little_memory_for_tiles_too_is_an_error_with_advice(model, monkeypatch, tmp_path):
    monkeypatch.setattr(Torch, "on", lambda self, device_id: ShortOfMemory(1000))
    with pytest.raises(vs.Error, match=r"failed: CUDA out of memory\..*set num_streams=1 or tilesize"):
        on_device(clip_in(vs.YUV420P8, size=(200, 240)), model=model, cache=str(tmp_path))


@pytest.mark.parametrize("arguments", [{"tilesize": 64}, {"memory_mb": 100}], ids=str)
def test_tiles_that_a_device_does_not_have_are_refused(arguments, device, tmp_path):
    with pytest.raises(vs.Error, match="cannot be run in tiles on a stand-in; leave tilesize= and memory_mb= out"):
        on_device(clip_in(vs.YUV420P8), model=LOOKS_AT_ALL, cache=str(tmp_path), **arguments)


@pytest.mark.parametrize(
    ("raised", "kind", "message"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), OutOfDeviceMemory,
         "close other programs that use the GPU"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), OutOfDeviceMemory, "num_streams=1"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"), OutOfDeviceMemory,
         "num_streams=1"),  # the wording of cuDNN 9
        (RuntimeError("CUDA driver error: CUDA_ERROR_OUT_OF_MEMORY"), OutOfDeviceMemory, "num_streams=1"),
        (RuntimeError("CUDA error: unspecified launch failure\nCompile with"), BackendFailure,
         "GPU 0 failed: CUDA error: unspecified launch failure; restart the application"),
        (BackendFailure("said already"), BackendFailure, "^said already$"),
    ],
)  # fmt: skip
def test_what_a_device_says_becomes_one_sentence(raised, kind, message):
    with pytest.raises(kind, match=message) as caught, device_errors("GPU 0"):
        raise raised
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)


def test_a_failing_frame_is_shown_and_gives_its_lane_back(device, monkeypatch):
    result = on_device(numbered(8), num_streams=1)

    def fail(self):
        raise RuntimeError("CUDA error: the device was lost")

    with monkeypatch.context() as patch:
        patch.setattr(Eager, "enqueue", fail)
        for n in range(3):
            with pytest.raises(vs.Error, match=r"Upscale: a stand-in failed: CUDA error: the device was lost; restart"):
                result.get_frame(n)
    assert abs(arrays(result.get_frame(5))[0].mean() - 25) <= 1


def test_a_colour_that_comes_later_and_cannot_be_opened_fails_at_its_frame(device, monkeypatch):
    limited = clip_in(vs.YUV420P8, 2)
    result = on_device(limited + limited.std.SetFrameProps(_Range=1))
    monkeypatch.setattr(TorchCuda, "prepare", lambda self, frame, run: (_ for _ in ()).throw(BackendFailure("no more")))
    with pytest.raises(vs.Error, match="frame 2: no more"):
        result.get_frame(2)
    result.get_frame(1)


def test_a_foreign_graph_is_refused_with_what_else_to_do(device, tmp_path):
    graph = tmp_path / "other.onnx"
    from onnx import TensorProto, helper

    shape = [1, 3, "h", "w"]
    node = helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="nearest")
    scales = helper.make_tensor("scales", TensorProto.FLOAT, [4], [1, 1, 2, 2])
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    values[1] = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, "H", "W"])
    model = helper.make_model(
        helper.make_graph([node], "g", values[:1], values[1:], [scales]), opset_imports=[helper.make_opsetid("", 18)]
    )
    graph.write_bytes(model.SerializeToString())
    with pytest.raises(vs.Error, match=r'other.onnx is an ONNX file; use backend="openvino"'):
        on_device(clip_in(vs.YUV420P8), model=str(graph))


def test_lack_of_memory_is_told_also_where_it_spoils_a_recording():
    spoilt = RuntimeError("CUDA error: operation failed due to a previous error during capture")
    spoilt.__context__ = torch.OutOfMemoryError("CUDA out of memory. Tried")
    with pytest.raises(OutOfDeviceMemory, match="CUDA out of memory"), device_errors("GPU 0"):
        raise spoilt


def test_an_executor_is_bound_to_the_lanes_tensors():
    shapes = [((4, 6), torch.uint8)]
    lane = Lane("cpu", shapes, [((4, 6, 2), torch.uint8)])

    class Widen(Executor):
        def enqueue(self):
            lane.outputs["result0"][..., 0] = lane.inputs["plane0"]
            lane.outputs["result0"][..., 1] = 1

    source, target = np.arange(24, dtype=np.uint8).reshape(4, 6), np.zeros((4, 9), np.uint16)[:, 1:7]
    staging = Staging("cpu", shapes, [((4, 6, 2), torch.uint8)])
    staging.load([source])
    staging.queue(lane, Widen())
    staging.unload([target])
    assert (target == source.astype(np.uint16) + 256).all()
