"""The order of a GPU's work (copies, recordings, streams, waits), with a stand-in for torch.cuda."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="devices are reached through torch")

from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from vsparagon.backends.frame_session import FrameSession  # noqa: E402
from vsparagon.backends.options import RunOptions  # noqa: E402
from vsparagon.backends.torch.cuda import Eager, Prepared, TorchCuda  # noqa: E402
from vsparagon.colours.layout import Layout  # noqa: E402
from vsparagon.device.lanes import Lanes, Staging  # noqa: E402
from vsparagon.device.recorded import exact_convolutions  # noqa: E402
from vsparagon.errors import OutOfDeviceMemory  # noqa: E402
from vsparagon.geometry.extension import Sizes, extension_for  # noqa: E402
from vsparagon.models.frame import FrameNetwork  # noqa: E402
from vsparagon.models.generators import create_generator  # noqa: E402
from vsparagon.models.half import half_form  # noqa: E402
from vsparagon.models.inference import inference_form  # noqa: E402

GREY = Layout(family="gray", bits=8, full=True)
YUV = Layout(family="yuv", bits=10, subsampling_w=1, subsampling_h=1, matrix=1)
RGB = Layout(family="rgb", bits=10, full=True)


class Repeated(torch.nn.Module):
    shift = 0

    def forward(self, x):
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


class Cuda:
    """Does the work on the CPU, and keeps a log of (operation, stream)."""

    def __init__(self, monkeypatch):
        self.log, self.current, self.recording = [], "none", None
        self.pinned, self.streams, self.pools = set(), [], []
        self.begun = self.waiting = lambda: None
        monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
        for name in ("Stream", "Event", "CUDAGraph", "graph_pool_handle", "current_stream", "stream", "graph"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))
        zeros, copy, enqueue = torch.zeros, torch.Tensor.copy_, Eager.enqueue

        def make(shape, dtype, device="cpu", pin_memory=False):
            tensor = zeros(shape, dtype=dtype)
            assert device == "cpu" or self.current.startswith("stream"), "a stream must order the zeros"
            if pin_memory:
                self.pinned.add(tensor.data_ptr())
            return tensor

        def copied(tensor, source, non_blocking=False):
            if non_blocking:
                ways = [way for way, end in (("up", source), ("down", tensor)) if end.data_ptr() in self.pinned]
                assert len(ways) == 1, "asynchronous copies must be between pinned memory and the device"
                self.note(ways[0])
            return copy(tensor, source)

        def run(executor):
            assert torch.is_inference_mode_enabled() is False
            assert torch.backends.cudnn.conv.fp32_precision == "ieee", "TF32 would round the colours"
            self.note("compute")
            if self.recording is not None:
                self.recording.work = lambda: enqueue(executor)
            enqueue(executor)

        monkeypatch.setattr(torch, "zeros", make)
        monkeypatch.setattr(torch.Tensor, "copy_", copied)
        monkeypatch.setattr(Eager, "enqueue", run)
        monkeypatch.setattr(TorchCuda, "prepare", lambda backend, frame, run: prepared(frame))

    def note(self, what):
        self.log.append((what, self.current))

    def taken(self):
        log, self.log = self.log, []
        return log

    def Stream(self, device):  # noqa: N802
        assert device == "cuda:0"
        name = f"stream {len(self.streams)}"
        self.streams.append(SimpleNamespace(name=name, cuda_stream=name, synchronize=lambda: self.note("sync")))
        return self.streams[-1]

    def Event(self, blocking):  # noqa: N802
        assert blocking, "waiting must not keep a core busy"
        return SimpleNamespace(
            record=lambda stream: self.log.append(("mark", stream.name)),
            synchronize=lambda: (self.note("wait"), self.waiting()),
        )

    def CUDAGraph(self):  # noqa: N802
        graph = SimpleNamespace(work=None)

        def replay():
            self.note("replay")
            graph.work()

        graph.replay = replay
        return graph

    def graph_pool_handle(self):
        return object()

    def current_stream(self):
        return next(stream for stream in self.streams if stream.name == self.current)

    @contextmanager
    def stream(self, stream):
        before, self.current = self.current, stream.name
        yield
        self.current = before

    @contextmanager
    def graph(self, graph, pool, stream, capture_error_mode):
        assert capture_error_mode == "thread_local", "other filters continue during a recording"
        assert stream.name == self.current
        self.note("begin")
        self.pools.append((stream.name, id(pool)))
        self.recording = graph
        self.begun()
        yield
        self.recording = None
        self.note("end")


@pytest.fixture
def cuda(monkeypatch):
    return Cuda(monkeypatch)


def frame_network():
    return FrameNetwork(Repeated(), 2, source=GREY, target=RGB, extension=extension_for(20, 24, Sizes())).eval()


def prepared(frame):
    return Prepared(frame=frame, maker=Eager)


def opened(lanes=2, in_flight=2):
    backend, network = TorchCuda("cuda:0", "a GPU"), frame_network()
    kept = Lanes(
        backend.device,
        backend.place,
        count=lanes,
        in_flight=in_flight,
        inputs=network.inputs(),
        outputs=network.outputs(),
    )
    graph = backend.prepare(network, RunOptions(streams=lanes, threads=1, cache=Path()))
    return backend, kept, FrameSession(backend, graph, kept)


def test_each_lane_records_its_work_once_after_trying_it_on_its_own_stream(cuda):
    opened()
    each = ["compute", "sync", "begin", "compute", "end", "mark"]
    streams, log = ["stream 0", "stream 1"], cuda.taken()
    assert [entry for entry in log if entry[0] != "wait"] == [(what, stream) for stream in streams for what in each]
    assert [what for what, _ in log] == 2 * [*each, "wait"], "what fails must fail before the first frame"


def test_a_frame_goes_up_is_computed_and_comes_down_on_one_stream(cuda):
    _, _, session = opened()
    cuda.taken()
    source = np.arange(480, dtype=np.uint8).reshape(20, 24)
    for stream in ("stream 0", "stream 1", "stream 0"):
        target = [np.zeros((40, 48), np.uint16) for _ in range(3)]
        session.enlarge([source], target)
        *queued, (last, _) = cuda.taken()
        assert queued == [(what, stream) for what in ("up", "replay", "down", "down", "down", "mark")]
        assert last == "wait", "planes must be copied to the frame after all work is done, not before"
        for plane in target:
            assert (plane == np.rint(source.repeat(2, 0).repeat(2, 1) / 255 * 1023)).all()


def test_a_lane_has_the_next_frame_queued_while_the_last_is_waited_for(cuda):
    _, _, session = opened(lanes=1, in_flight=2)
    cuda.taken()
    cuda.waiting = threading.Barrier(2, timeout=30).wait  # neither frame continues before both wait
    sources = [np.full((20, 24), grey, np.uint8) for grey in (0, 255)]
    targets = [[np.full((40, 48), 7, np.uint16) for _ in range(3)] for _ in sources]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(session.enlarge, ([source] for source in sources), targets))
    assert [what for what, _ in cuda.taken() if what != "wait"] == 2 * ["up", "replay", "down", "down", "down", "mark"]
    assert [[plane.mean() for plane in target] for target in targets] == [3 * [0], 3 * [1023]]


def test_frames_wait_for_each_other_where_no_more_pinned_memory_can_be_had(cuda, monkeypatch, caplog):
    _, kept, session = opened(lanes=1, in_flight=3)

    def short(self, *given):
        raise RuntimeError("CUDA error: out of memory\nCompile with TORCH_USE_CUDA_DSA")

    monkeypatch.setattr(Staging, "__init__", short)
    sources = [np.full((20, 24), grey, np.uint8) for grey in range(0, 256, 51)]
    targets = [[np.full((40, 48), 7, np.uint16) for _ in range(3)] for _ in sources]
    with ThreadPoolExecutor(len(sources)) as pool:
        with kept.staging():
            frames = pool.map(session.enlarge, ([source] for source in sources), targets)
            time.sleep(0.2)  # time for all frames to find that there is no buffer
            assert all((plane == 7).all() for target in targets for plane in target)
        list(frames)
    assert [[round(plane.mean()) for plane in target] for target in targets] == [
        3 * [round(g * 1023 / 255)] for g in range(0, 256, 51)
    ]
    assert caplog.messages == ["not computing more frames at once, because memory is short: CUDA error: out of memory"]


def test_no_more_pinned_memory_is_made_than_for_the_frames_in_flight(cuda):
    _, kept, _ = opened(lanes=1, in_flight=2)
    with kept.staging(), kept.staging():
        assert kept._made() is None


def test_lack_of_memory_for_lanes_is_told(cuda, monkeypatch):
    monkeypatch.setattr(torch, "zeros", Mock(side_effect=torch.OutOfMemoryError("CUDA out of memory.\nThings to know")))
    with pytest.raises(OutOfDeviceMemory, match=r"a GPU failed: CUDA out of memory\."):
        opened()


def test_frames_wait_while_further_colours_are_opened_on_their_lanes(cuda):
    _, kept, session = opened(lanes=1)
    cuda.taken()
    source, target = np.zeros((20, 24), np.uint8), [np.zeros((40, 48), np.uint16) for _ in range(3)]
    frame = threading.Thread(target=session.enlarge, args=([source], target))

    def meet():
        frame.start()
        frame.join(0.3)

    cuda.begun = meet
    FrameSession(TorchCuda("cuda:0", "a GPU"), prepared(frame_network()), kept)
    frame.join()
    order = [what for what, _ in cuda.taken() if what != "wait"]
    assert order[:5] == ["compute", "sync", "begin", "compute", "end"], "otherwise, the frame would be recorded, too"
    assert order[5:] == ["mark", "up", "replay", "down", "down", "down", "mark"]


def test_colours_share_the_memory_of_their_lane_and_lanes_share_none(cuda):
    backend, kept, _ = opened()
    FrameSession(backend, prepared(frame_network()), kept)
    assert len(cuda.pools) == 4
    assert len(set(cuda.pools)) == len({pool for _, pool in cuda.pools}) == 2


@pytest.mark.parametrize(
    "somebody",
    [
        lambda cudnn: None,
        lambda cudnn: setattr(cudnn, "allow_tf32", False),
        lambda cudnn: setattr(cudnn.conv, "fp32_precision", "tf32"),
        lambda cudnn: setattr(torch.backends, "fp32_precision", "tf32"),
    ],
    ids=["nothing", "old way", "new way", "everywhere"],
)
def test_convolutions_are_exact_whatever_somebody_set_and_that_comes_back(somebody):
    cudnn = torch.backends.cudnn
    usual = torch.backends.fp32_precision, cudnn.conv.fp32_precision
    try:
        somebody(cudnn)
        before = cudnn.conv.fp32_precision, cudnn.benchmark
        with exact_convolutions():
            assert (cudnn.conv.fp32_precision, cudnn.benchmark) == ("ieee", True)
        assert (cudnn.conv.fp32_precision, cudnn.benchmark) == before
    finally:
        torch.backends.fp32_precision, cudnn.conv.fp32_precision = usual


def test_convolutions_are_exact_in_an_older_torch(monkeypatch):
    told = []

    @contextmanager
    def flags(**settings):
        told.append(settings)
        yield

    monkeypatch.setattr(torch.backends, "cudnn", SimpleNamespace(flags=flags))
    with exact_convolutions():
        assert told == [{"enabled": True, "benchmark": True, "allow_tf32": False}]


class OneDevice(TorchDispatchMode):
    """Refuses what a CUDA graph cannot record: a copy between the CPU and the GPU."""

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        result = function(*arguments, **(named or {}))
        if function in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default):
            assert arguments[0].device == result.device, "a copy between devices"
        return result


needs_cuda_build = pytest.mark.skipif(
    not torch.backends.cuda.is_built(), reason="this torch was built for the CPU only, and cannot fake a GPU"
)


def run_on_imagined_gpu(frame):
    """Run a frame's work on fake tensors, which have a shape and a device, but no values; reading a value fails."""
    with FakeTensorMode(), torch.no_grad(), OneDevice():
        held = {
            name: torch.empty(tensor.shape, dtype=tensor.dtype, device="cuda:0")
            for name, tensor in [*frame.named_parameters(), *frame.named_buffers()]
        }
        planes = [torch.empty(shape, dtype=dtype, device="cuda:0") for shape, dtype in frame.inputs()]
        return [
            (tuple(result.shape), result.dtype, str(result.device))
            for result in torch.func.functional_call(frame, held, (planes,))
        ]


@needs_cuda_build
@pytest.mark.parametrize("form", [half_form, inference_form])
@pytest.mark.parametrize("variant", ["swift", "nano", "micro", "tiny", "s"])
@pytest.mark.parametrize("layout", [YUV, RGB, GREY], ids=lambda layout: layout.family)
def test_a_frames_work_can_be_recorded(variant, form, layout):
    network = form(create_generator(variant))
    frame = FrameNetwork(network, 2, source=layout, target=layout, extension=extension_for(64, 96)).eval()
    assert run_on_imagined_gpu(frame) == [(*kind, "cuda:0") for kind in frame.outputs()]


class Waits(Repeated):
    def forward(self, x):
        return super().forward(x) * x.mean().item()


class Crosses(Repeated):
    def forward(self, x):
        return super().forward(x) * torch.ones(3, 1, 1).to(x.device)


@needs_cuda_build
@pytest.mark.parametrize("network", [Waits(), Crosses()], ids=lambda network: type(network).__name__)
def test_work_that_cannot_be_recorded_is_found(network):
    frame = FrameNetwork(network, 2, source=GREY, target=RGB, extension=extension_for(20, 24, Sizes())).eval()
    with pytest.raises((AssertionError, DataDependentOutputException)):
        run_on_imagined_gpu(frame)
