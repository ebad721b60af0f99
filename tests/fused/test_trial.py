"""Our own kernels or torch's: both are tried on the GPU, and those that are wrong or slower are not used."""

import gc
import logging
import re
import time
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="the frame graph is a torch module")
pytest.importorskip("triton", reason="the kernels are in Triton")

from frame_graphs import LAYOUTS, RGBS, YUV420, frame_of  # noqa: E402
from torch import nn  # noqa: E402

from vsparagon.backends.options import RunOptions  # noqa: E402
from vsparagon.backends.torch import crashes, trial  # noqa: E402
from vsparagon.backends.torch import cuda as torch_cuda  # noqa: E402
from vsparagon.backends.torch.cuda import Attending, Eager, TorchCuda  # noqa: E402
from vsparagon.backends.torch.trial import faster  # noqa: E402
from vsparagon.cache import kept_files  # noqa: E402
from vsparagon.cli.cache import about  # noqa: E402
from vsparagon.device.lanes import QUEUING, Lane  # noqa: E402
from vsparagon.device.recorded import no_collection  # noqa: E402
from vsparagon.errors import BackendFailure  # noqa: E402
from vsparagon.fused import canvas, support  # noqa: E402
from vsparagon.fused.attention import FusedWindowAttention  # noqa: E402
from vsparagon.fused.executor import FusedExecutor  # noqa: E402
from vsparagon.fused.support import trouble_with_triton  # noqa: E402
from vsparagon.models.half import half_form  # noqa: E402
from vsparagon.models.inference import inference_form  # noqa: E402
from vsparagon.models.paragonsr2 import ParagonSR2  # noqa: E402
from vsparagon.models.swift import Swift  # noqa: E402


@pytest.fixture(autouse=True)
def short_trials(monkeypatch):
    monkeypatch.setattr(trial, "TURNS", 2)
    monkeypatch.setattr(trial, "ROUNDS", 1)


class Ours(Eager):
    """Computes like torch's kernels, but adds `wrong` to every sample."""

    wrong = 0

    def enqueue(self):
        super().enqueue()
        for plane in self._outputs:
            plane += self.wrong


class Network(nn.Module):
    shift = 0

    def forward(self, x):
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def tried(caplog, *, layout=YUV420, torchs=Eager, **how):
    maker = type("Ours", (Ours,), how)
    with caplog.at_level(logging.INFO):
        chosen = faster(
            frame_of(Network(), layout), "cpu", ours=maker, torchs=torchs, recorded=lambda executor: executor
        )
    return chosen is maker


@pytest.mark.parametrize(("ours", "torchs", "name"), [(0.005, 0.001, "torch's"), (0.001, 0.005, "our")])
def test_the_faster_way_is_taken_and_both_times_are_said(ours, torchs, name, caplog, monkeypatch):
    seconds = iter([ours, torchs] * trial.ROUNDS)
    monkeypatch.setattr(trial, "seconds", lambda lane, executor, frames: next(seconds))
    assert tried(caplog) == (ours < torchs)
    said = f"it: using {name} kernels: ours take {1000 * ours:.2f} ms, torch's {1000 * torchs:.2f} ms"
    assert said in caplog.text


def test_frames_are_computed_to_be_timed():
    frame, computed = frame_of(Network()), []
    lane = Lane("cpu", frame.inputs(), frame.outputs())
    executor = SimpleNamespace(enqueue=lambda: computed.append(time.sleep(0.001)))
    assert trial.seconds(lane, executor, 3) >= 0.001
    assert len(computed) == 3


def test_kernels_that_compute_something_else_are_not_used_and_that_is_said(caplog):
    assert not tried(caplog, wrong=12)
    assert "it: using torch's kernels, because ours are wrong by 0.0" in caplog.text
    assert caplog.records[-1].levelname == "WARNING"


def test_kernels_that_fail_are_not_used_and_that_is_said(caplog):
    def fail(self):
        raise ValueError("out of resource: shared memory\nmore")

    assert not tried(caplog, enqueue=fail)
    assert (
        "it: using torch's kernels, because ours do not run on this GPU: out of resource: shared memory. P"
        in caplog.text
    )
    assert caplog.records[-1].levelname == "WARNING"

    def short(self):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        tried(caplog, enqueue=short)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_frames_of_any_format_can_be_tried_and_what_is_the_same_agrees(layout, caplog):
    tried(caplog, layout=layout)
    assert "ms, torch's " in caplog.text
    caplog.clear()
    assert not tried(caplog, layout=layout, wrong=1 if layout.is_float else 60)
    assert "ours are wrong" in caplog.text


def test_what_is_no_number_does_not_agree():
    planes = [torch.zeros(2), torch.tensor([0.0, torch.nan])]
    assert not trial._difference(planes, [torch.zeros(2), torch.zeros(2)]) <= trial.AGREEMENT


def test_noise_is_the_same_each_time_and_not_the_callers():
    frame, seen = frame_of(Network()), []
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)

    class Watched(Eager):
        def __init__(self, frame, inputs, outputs):
            super().__init__(frame, inputs, outputs)
            seen.append(inputs["plane0"].clone())

    for _ in range(2):
        faster(frame, "cpu", ours=Ours, torchs=Watched, recorded=lambda executor: executor)
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(torch.rand(1), expected)


def test_noise_of_12_bit_keeps_within_the_bits_and_differs_from_plane_to_plane():
    layout = LAYOUTS["YUV444P12"]
    frame = frame_of(Network(), layout)
    lane = Lane("cpu", frame.inputs(), frame.outputs())
    trial.fill(lane, layout)
    planes = [plane.numpy().view("<u2") for plane in lane.inputs.values()]
    assert all(3500 < plane.max() < 4096 for plane in planes)
    assert (planes[0] != planes[1]).any()


def test_where_torch_has_too_little_memory_ours_are_used(caplog):
    class Short(Eager):
        def __init__(self, *given):
            raise torch.OutOfMemoryError("CUDA out of memory")

    assert tried(caplog, torchs=Short)
    assert "torch's need more memory than there is" in caplog.text


class OnGpu(TorchCuda):
    """A backend that takes the CPU for a GPU, but records nothing."""

    is_gpu = True

    def _recorded(self, executor):
        return executor


@pytest.fixture
def on_gpu(monkeypatch):
    """Give `OnGpu` the answers that it needs from a GPU."""

    def free(device):
        assert QUEUING.locked(), "without the lock, another filter's recording would be disturbed"
        return ""

    monkeypatch.setattr(support, "trouble_with_triton", free)
    monkeypatch.setattr(torch_cuda, "release_memory", lambda: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "A Card")
    monkeypatch.setattr(crashes, "driver_version", lambda: "580.1")


def test_the_choice_is_made_once_for_a_filter(on_gpu, monkeypatch, caplog, tmp_path):
    trials = []
    monkeypatch.setattr(torch_cuda, "faster", lambda *given, **named: trials.append(given) or named["ours"])
    backend, half = OnGpu("cpu", "a stand-in"), half_form(Swift())
    options = RunOptions(streams=1, threads=1, cache=tmp_path)
    makers = [backend.prepare(frame_of(half, layout), options).maker for layout in (YUV420, RGBS)]
    assert makers == [backend._fused, backend._fused]
    assert len(trials) == 1
    with caplog.at_level(logging.INFO):
        assert backend.prepare(frame_of(inference_form(Swift())), options).maker is Eager
    assert "it: using torch's kernels, because ours compute only in float16" in caplog.text
    assert len(trials) == 1


def with_attention():
    return half_form(ParagonSR2(num_feat=12, num_groups=1, num_blocks=1, use_attention=True))


def test_where_only_attention_fits_our_kernels_that_alone_is_tried(on_gpu, monkeypatch, caplog, tmp_path):
    tried = []
    monkeypatch.setattr(torch_cuda, "faster", lambda *given, **named: tried.append(named["ours"]) or Eager)
    options = RunOptions(streams=1, threads=1, cache=tmp_path)
    backend, frame = OnGpu("cpu", "a stand-in"), frame_of(with_attention())
    assert backend.prepare(frame, options).frame is frame
    assert tried == [Attending]
    monkeypatch.setattr(torch_cuda, "faster", lambda *given, **named: named["ours"])
    backend = OnGpu("cpu", "a stand-in")
    taken = backend.prepare(frame, options)
    assert taken.note
    lane = Lane("cpu", frame.inputs(), frame.outputs())
    opened = [backend.open_executor(taken, lane.inputs, lane.outputs) for _ in range(2)]
    assert opened[0]._frame is opened[1]._frame is not frame
    assert any(isinstance(part, FusedWindowAttention) for part in opened[0]._frame.modules())
    with caplog.at_level(logging.INFO):
        assert OnGpu("cpu", "a stand-in").prepare(frame_of(half_form(wide_attention())), options).maker is Eager
    assert "it: using torch's kernels, because ours do not support gain of the whole frame" in caplog.text
    assert len(tried) == 1


def wide_attention():
    return ParagonSR2(num_feat=96, num_groups=1, num_blocks=1, ffn_expansion=2.0, use_attention=True)


def crash(*given, **named):
    raise RuntimeError("CUDA error: an illegal memory access was encountered\nSearch for it")


@pytest.mark.parametrize("when", ["tried", "opened"])
def test_kernels_that_crash_the_gpu_are_not_used_the_next_time(when, on_gpu, monkeypatch, caplog, tmp_path):
    options, frame = RunOptions(streams=1, threads=1, cache=tmp_path), frame_of(half_form(Swift()))
    lane = Lane("cpu", frame.inputs(), frame.outputs())
    with monkeypatch.context() as patch:
        patch.setattr(FusedExecutor, "__init__", crash)
        until_the_crash = iter([True, True, False] if when == "opened" else [True, False])
        patch.setattr(crashes, "answers", lambda device: next(until_the_crash))
        patch.setattr(trial, "answers", lambda device: False)
        if when == "opened":
            patch.setattr(torch_cuda, "faster", lambda *given, **named: named["ours"])
        backend = OnGpu("cpu", "a stand-in")
        with pytest.raises(BackendFailure) as caught:
            backend.open_executor(backend.prepare(frame, options), lane.inputs, lane.outputs)
    assert str(caught.value) == (
        "our kernels for it crashed on this GPU (CUDA error: an illegal memory access was encountered); please report "
        "this, with the versions of torch, triton and the driver. Restart the application: it will then use torch's "
        "slower kernels, until you run vsparagon cache clear crashes."
    )
    monkeypatch.setattr(torch_cuda, "faster", lambda *given, **named: named["ours"])
    assert OnGpu("cpu", "a stand-in").prepare(frame, options).maker is Eager
    assert (
        "it: using torch's kernels, because ours crashed on this GPU (to retry: vsparagon cache clear crashes"
        in caplog.text
    )
    (note,) = kept_files(tmp_path, "crashes")
    assert about(note).endswith("it: CUDA error: an illegal memory access was encountered")
    monkeypatch.setattr(crashes, "driver_version", lambda: "590.1")
    backend = OnGpu("cpu", "a stand-in")
    assert backend.prepare(frame, options).maker == backend._fused


def test_kernels_are_not_blamed_for_a_gpu_that_was_lost_before(on_gpu, monkeypatch, tmp_path):
    monkeypatch.setattr(crashes, "answers", lambda device: False)
    with pytest.raises(BackendFailure, match="cpu no longer responds; restart the application"):
        OnGpu("cpu", "a stand-in").prepare(
            frame_of(half_form(Swift())), RunOptions(streams=1, threads=1, cache=tmp_path)
        )
    assert kept_files(tmp_path) == []


class OutOfResources(Exception):
    """Like Triton's, which is not a RuntimeError."""


@pytest.mark.parametrize("network", [Swift, lambda: ParagonSR2(num_feat=12, use_attention=True)])
def test_a_format_that_our_kernels_cannot_do_is_computed_by_torch(network, on_gpu, monkeypatch, caplog, tmp_path):
    def fail(*given, **named):
        raise OutOfResources("out of resource: shared memory\nReduce block sizes")

    monkeypatch.setattr(torch_cuda, "faster", lambda *given, **named: named["ours"])
    backend, frame = OnGpu("cpu", "a stand-in"), frame_of(half_form(network()))
    prepared = backend.prepare(frame, RunOptions(streams=2, threads=1, cache=tmp_path))
    monkeypatch.setattr(prepared, "maker", fail)
    lanes = [Lane("cpu", frame.inputs(), frame.outputs()) for _ in range(2)]
    for lane in lanes:
        backend.open_executor(prepared, lane.inputs, lane.outputs).enqueue()
        assert any(plane.any() for plane in lane.outputs.values())
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [text.partition(". Please")[0] for text in warned] == [
        "it: using torch's kernels, because ours do not run on this GPU: out of resource: shared memory"
    ]
    assert kept_files(tmp_path) == []


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("Triton Error [CUDA]: out of memory"),
    ],
    ids=str,
)
def test_lack_of_memory_in_any_words_is_no_fault_of_our_kernels(error, caplog):
    def fail(self):
        raise error

    with pytest.raises(type(error), match=re.escape(str(error))):
        tried(caplog, enqueue=fail)
    assert caplog.text == ""
    maker = type("Theirs", (Eager,), {"enqueue": fail})
    assert tried(caplog, torchs=maker)
    assert "because torch's need more memory than there is" in caplog.text


def test_nothing_is_collected_while_work_is_recorded():
    class Cycle:
        def __init__(self, gone):
            self.itself, self.gone = self, gone

        def __del__(self):
            self.gone.append(1)

    gone = []
    assert gc.isenabled()
    with no_collection():
        for _ in range(20_000):
            Cycle(gone)
        assert gone == []
    assert gc.isenabled()
    gc.collect()
    assert len(gone) == 20_000


def test_a_pool_whose_recording_failed_is_not_used_again(monkeypatch):
    pools, handles = [], iter(range(10))

    class Recording:
        def __init__(self, executor, pool):
            pools.append(pool)
            if len(pools) == 2:
                raise RuntimeError("CUDA error: operation failed due to a previous error during capture")

    class Gpu(TorchCuda):
        is_gpu = True

    monkeypatch.setattr(torch_cuda, "Recorded", Recording)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: SimpleNamespace(cuda_stream=7))
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: next(handles))
    backend = Gpu("cpu", "a stand-in")
    backend._recorded(None)
    with pytest.raises(RuntimeError, match="previous error"):
        backend._recorded(None)
    backend._recorded(None)
    assert pools[0] == pools[1] != pools[2]


def test_lack_of_memory_while_work_is_recorded_is_no_fault_of_our_kernels(caplog):
    def recorded(executor):
        try:
            raise torch.OutOfMemoryError("CUDA out of memory")
        finally:
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture")

    frame = frame_of(half_form(Swift()))
    with pytest.raises(RuntimeError, match="previous error"):
        faster(frame, "cpu", ours=Eager, torchs=Eager, recorded=recorded)
    assert caplog.text == ""
    turns = iter([lambda executor: executor, recorded])
    with caplog.at_level(logging.INFO):
        maker = faster(frame, "cpu", ours=Ours, torchs=Eager, recorded=lambda executor: next(turns)(executor))
    assert maker is Ours
    assert "because torch's need more memory than there is" in caplog.text


def test_a_gpu_that_answers_did_not_crash(on_gpu, monkeypatch, caplog, tmp_path):
    monkeypatch.setattr(FusedExecutor, "__init__", crash)
    backend, frame = OnGpu("cpu", "a stand-in"), frame_of(half_form(Swift()))
    assert backend.prepare(frame, RunOptions(streams=1, threads=1, cache=tmp_path)).maker is Eager
    assert "because ours do not run on this GPU: CUDA error: an illegal memory access" in caplog.text
    assert kept_files(tmp_path) == []


def test_a_crash_that_cannot_be_noted_is_told_with_a_way_round(tmp_path, monkeypatch):
    (tmp_path / "crashes").write_text("in the way")
    before_and_after = iter([True, False])
    monkeypatch.setattr(crashes, "answers", lambda device: next(before_and_after))
    note = tmp_path / "crashes" / "it.crash"
    said = r'application: .*it\.crash cannot be written \(.*\), so set precision="fp32", which does not use them\.$'
    expected = pytest.raises(BackendFailure, match=said)
    with expected, crashes.noting_a_crash(note, "cuda:0", "it"):
        crash()


def test_a_gpu_or_a_machine_where_triton_does_not_work(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    try:
        trouble_with_triton.cache_clear()
        assert trouble_with_triton("cpu") == "ours need compute capability 8.0, and this GPU has 7.5"
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 6))

        def no_compiler(*given, **named):
            raise RuntimeError("Failed to find C compiler.\nPlease specify one")

        monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
        monkeypatch.setattr(canvas.Canvas, "launch", lambda *given, **named: no_compiler)
        trouble_with_triton.cache_clear()
        assert trouble_with_triton("cpu") == "Triton does not work here: Failed to find C compiler."

        def no_memory(*given, **named):
            raise RuntimeError("Triton Error [CUDA]: out of memory")

        monkeypatch.setattr(canvas.Canvas, "launch", lambda *given, **named: no_memory)
        trouble_with_triton.cache_clear()
        for _ in range(2):
            with pytest.raises(RuntimeError, match="out of memory"):
                trouble_with_triton("cpu")
    finally:
        trouble_with_triton.cache_clear()
