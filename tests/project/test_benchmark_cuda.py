"""scripts/benchmark.py on a GPU: what it runs, copies and compares; without one, by stand-ins."""

import pytest
from benchmarking import cuda, networks
from benchmarking.jobs import Settings
from measurements import NANO, SMALL, cells, job, result_of, run

from vsparagon.errors import BackendFailure, BackendUnavailable


@pytest.fixture
def loads():
    pytest.importorskip("torch", reason="GPUs are reached through torch")
    from benchmarking import device_loads

    return device_loads


@pytest.mark.parametrize("kind", ["graph", "torch_graph"])
@pytest.mark.parametrize(("layout", "each"), [("YUV420P8", 1.5), ("float RGB", 12.0)])
def test_the_graph_alone_is_run_where_its_backend_says(layout, each, kind, loads, monkeypatch):
    from vsparagon.backends.torch import Torch
    from vsparagon.backends.torch.cuda import TorchCuda

    monkeypatch.setattr(Torch, "on", lambda self, device_id: TorchCuda("cpu", "a stand-in"))
    arguments = {"variant": "nano", "backend": "torch", "precision": "fp32", "device_id": 0, "layout": layout}
    facts, turn = loads.opened(job(kind, arguments))
    pixels = 48 * 32
    assert (facts["up"], facts["down"]) == (pixels * each, 4 * pixels * each)
    assert facts["moved"] > facts["up"] + facts["down"]
    assert turn()["wall"] > 0


def test_torchs_kernels_are_those_alone_also_where_our_attention_is_faster(loads, monkeypatch):
    from vsparagon.backends.torch import Torch
    from vsparagon.backends.torch import cuda as torch_cuda

    def ours(*given):
        raise AssertionError("one of our kernels")

    def prepare(self, frame, run):
        return torch_cuda.Prepared(frame=frame, maker=ours)

    monkeypatch.setattr(torch_cuda.TorchCuda, "prepare", prepare)
    monkeypatch.setattr(Torch, "on", lambda self, device_id: torch_cuda.TorchCuda("cpu", "a stand-in"))
    arguments = {"variant": "nano", "backend": "torch", "precision": "fp32", "device_id": 0, "layout": "YUV420P8"}
    assert loads.opened(job("torch_graph", arguments))[1]()["wall"] > 0
    with pytest.raises(AssertionError, match="one of our kernels"):
        loads.opened(job("graph", arguments))


def test_the_graph_of_a_backend_on_the_processor_is_refused(loads):
    arguments = {"variant": "nano", "backend": "openvino", "precision": "fp32", "device_id": 0, "layout": "YUV420P8"}
    with pytest.raises(BackendUnavailable, match="openvino runs on CPU"):
        loads.opened(job("graph", arguments))


def test_moved_are_the_inputs_and_outputs_of_convolutions(loads):
    import torch

    from vsparagon.geometry.extension import Sizes, extension_for

    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 5, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(5, 12, 1), torch.nn.PixelShuffle(2)
    )
    pixels = (32 + 16) * (48 + 16)
    assert loads.moved_bytes(network, extension_for(32, 48, Sizes())) == 4 * pixels * (3 + 5 + 5 + 12)


def test_bus_and_memory_are_measured_by_copies(loads, monkeypatch):
    monkeypatch.setattr(loads.time, "perf_counter", iter(range(0, 1000, 2)).__next__)
    _, turn = loads.opened(job("bus", {"device": "cpu", "up": 10, "down": 40}))
    assert turn() == {"wall": 1.0}
    _, turn = loads.opened(job("device_memory", {"device": "cpu", "size": 1000}))
    assert turn() == {"bytes_per_second": 2 * 1000 * loads.COPIES / 2}


def test_a_gpu_is_compared_with_its_limits(monkeypatch):
    run = networks.Run(network=NANO[0], backend="torch", precision="fp16")
    openings = {"paragon": {"first": 1.0}, "paragon_float_rgb": {"first": 1.0}, "bus": {}, "device_memory": {},
                "graph": {"up": 1e6, "down": 3e6, "moved": 1e7}, "torch_graph": {}}  # fmt: skip
    walls = {"paragon": 0.004, "paragon_float_rgb": 0.008, "graph": 0.002, "torch_graph": 0.005, "bus": 0.001}

    sent, graphs = {}, []

    def compare(candidates, settings, *, preloaded=()):
        sent.update({c.name: c.arguments for c in candidates if c.kind == "bus"})
        graphs.extend(c.arguments["layout"] for c in candidates if c.kind == "graph")
        same = {"processor": (0.01, 0.01), "bytes_per_second": (2e10, 2e10)}
        return [result_of(c, openings[c.kind], wall=(walls.get(c.kind, 1.0),) * 2, **same) for c in candidates]

    monkeypatch.setattr(cuda, "compare", compare)
    rows, (note,) = cuda.measure_cuda([run], [SMALL], Settings(), device_id=1, streams=[0, 4])
    names = [row["name"].removeprefix("vsparagon nano, torch fp16, ") for row in rows]
    assert names == ["YUV420P8", "YUV420P8, 4 streams", "float RGB", "float RGB, 4 streams"]
    assert graphs == ["YUV420P8", "float RGB"], "one graph must serve all numbers of streams"
    pixels = 48 * 32
    assert sent == {
        "YUV420P8": {"device": "cuda:1", "up": pixels * 1.5, "down": pixels * 6},
        "float RGB": {"device": "cuda:1", "up": pixels * 12, "down": pixels * 48},
    }
    wanted = {
        "frames_per_second": 250,
        "beside_first": 1,
        "bus_megabytes": 4,
        "bus_frames": 1000,
        "of_bus": 0.25,
        "graph_frames": 500,
        "torch_graph_frames": 200,
        "memory_frames": 2000,
        "of_memory": 0.25,
    }
    assert {key: rows[0][key] for key in wanted} == pytest.approx(wanted)
    assert rows[2]["beside_first"] == pytest.approx(0.5)
    assert "(20 GB/s, read and written)" in note


def test_a_network_that_fails_on_a_gpu_leaves_the_others(monkeypatch):
    runs = [networks.Run(network=NANO[0], backend="torch", precision=precision) for precision in ("fp16", "fp32")]
    fine = {"first": 1.0, "up": 1e6, "down": 3e6, "moved": 1e7}

    def compare(candidates, settings, *, preloaded):
        if candidates[0].facts["precision"] in failing:
            raise BackendFailure("it failed; its message is above.")
        return [result_of(c, fine, wall=(1.0, 1.0), processor=(1, 1), bytes_per_second=(1, 1)) for c in candidates]

    monkeypatch.setattr(cuda, "compare", compare)
    failing = {"fp32"}
    rows, notes = cuda.measure_cuda(runs, [SMALL], Settings(), device_id=0, streams=[0])
    assert {row["precision"] for row in rows} == {"fp16"}
    assert notes[1] == f"{runs[1].name} at 48x32 is left out: it failed; its message is above."
    failing = {"fp16", "fp32"}
    with pytest.raises(BackendFailure, match=r"fp16 at 48x32 is left out: .* fp32 at 48x32 is left out"):
        cuda.measure_cuda(runs, [SMALL], Settings(), device_id=0, streams=[0])


@pytest.mark.needs_cuda
def test_a_gpu_is_measured(monkeypatch, capsys):
    table = run(monkeypatch, capsys, "--device", "cuda", "--sizes", "96x64", "--frames", 20, "--rounds", 2)[2]
    header, rows = cells(table)
    assert "graph only frames/s" in header
    assert [row[0].rpartition(", ")[2] for row in rows] == ["YUV420P8", "float RGB"]
