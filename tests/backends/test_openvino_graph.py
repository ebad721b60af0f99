"""What is done to a network before it is compiled leaves its results as they are."""

import subprocess
import sys

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from vsparagon.backends.openvino import cpu
from vsparagon.backends.openvino.cpu import _run
from vsparagon.backends.openvino.library import openvino_core
from vsparagon.backends.openvino.surgery import Rim, narrow, ports
from vsparagon.choice import make_choice
from vsparagon.errors import BackendFailure
from vsparagon.lookup import find_model
from vsparagon.pipelines.picture import PicturePipeline

HEIGHT, WIDTH = 20, 23
RANDOM = np.random.default_rng(0)


def _picture():
    return ops.parameter([1, 2, HEIGHT, WIDTH], np.float32)


def _convolution(value, side, *, before=None, after=None, grouped=False):
    before = side // 2 if before is None else before
    after = side - 1 - before if after is None else after
    shape = (2, 1, 1, side, side) if grouped else (2, 2, side, side)
    make = ops.group_convolution if grouped else ops.convolution
    kernel = ops.constant(RANDOM.standard_normal(shape).astype(np.float32))
    made = make(value, kernel, [1, 1], [before] * 2, [after] * 2, [1, 1])
    bias = ops.constant(RANDOM.standard_normal((1, 2, 1, 1)).astype(np.float32))
    return ops.prelu(ops.add(made, bias), ops.constant(np.float32([0.3])))


def _mean(value):
    return ops.reduce_mean(value, ops.constant([0, 1, 2, 3]), keep_dims=True)


def _result(network, picture):
    compiled = openvino_core().compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled(picture)[0].copy()


def _check(last, picture, most, expected):
    """Narrow the network that ends in `last`, and compare its result with that of the whole."""
    network = openvino.Model([last], [picture])
    values = RANDOM.standard_normal((1, 2, HEIGHT, WIDTH)).astype(np.float32)
    whole = _result(network, values)
    rim = narrow(openvino, network, most)
    assert rim == expected
    kept = whole[..., rim.before : HEIGHT - rim.after, rim.before : WIDTH - rim.after]
    np.testing.assert_allclose(_result(network, values), kept, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (Rim(), Rim()),
        (Rim(before=1, after=1), Rim(before=1, after=1)),
        (Rim(before=3, after=3), Rim(before=3, after=3)),
        (Rim(before=2, after=5), Rim(before=2, after=5)),
        (Rim(before=9, after=9), Rim(before=5, after=6)),
    ],
)
def test_convolutions_in_a_row_lose_what_is_not_kept(most, expected):
    picture = _picture()
    value = _convolution(_convolution(_convolution(picture, 3), 7, grouped=True), 4, before=1)
    _check(value, picture, most, expected)


@pytest.mark.parametrize(
    ("kernels", "expected"),
    [
        ([(3, 3), (5, 7)], Rim(before=2, after=2)),
        ([(5, 7), (3, 3)], Rim(before=3, after=3)),
        ([(3, 3), (1, 5), (5, 1)], Rim()),
        ([(3, 3), (1, 5), (5, 1), (5, 5)], Rim(before=2, after=2)),
    ],
)
def test_behind_a_kernel_that_is_not_square_no_more_is_left_out(kernels, expected):
    picture = value = _picture()
    for height, width in kernels:
        kernel = ops.constant(RANDOM.standard_normal((2, 2, height, width)).astype(np.float32))
        pads = [height // 2, width // 2]
        value = ops.convolution(value, kernel, [1, 1], pads, pads, [1, 1])
    _check(value, picture, Rim(before=9, after=9), expected)


def test_values_that_something_else_needs_stay_whole():
    picture = _picture()
    trunk = _convolution(picture, 5)
    value = _convolution(ops.add(_convolution(trunk, 3), trunk), 3)
    _check(value, picture, Rim(before=8, after=8), Rim(before=1, after=1))


def test_branches_that_are_added_lose_as_much_as_all_of_them_can():
    picture = _picture()
    long = _convolution(_convolution(picture, 3), 3)
    short = _convolution(picture, 4, before=1)
    _check(ops.add(long, short), picture, Rim(before=8, after=8), Rim(before=1, after=2))


def test_nothing_is_left_out_behind_a_step_that_is_not_known():
    picture = _picture()
    value = ops.softmax(_convolution(picture, 3), 3)
    _check(value, picture, Rim(before=8, after=8), Rim())


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        ("nano", Rim(before=2, after=3)),
        ("micro", Rim(before=2, after=3)),
        ("tiny", Rim(before=2, after=3)),
        ("swift_lite", Rim(before=3, after=3)),
        ("swift", Rim(before=5, after=5)),
        ("swift_plus", Rim(before=8, after=8)),
    ],
)
def test_bundled_networks_compute_less_at_their_end(variant, expected, monkeypatch):
    rims = []
    monkeypatch.setattr(
        "vsparagon.backends.openvino.cpu.narrow", lambda *given: rims.append(narrow(*given)) or rims[-1]
    )
    PicturePipeline(make_choice(find_model(variant=variant), backend="openvino"), height=HEIGHT, width=WIDTH)
    assert rims == [expected]


@pytest.mark.parametrize("end", ["convolution", "sum", "sum with a scaled term", "sum with a row", "sum of three"])
def test_result_with_the_channels_last_is_the_same(end):
    picture = _picture()
    values = [_convolution(picture, side) for side in (3, 5, 7)]
    more = {
        "convolution": lambda: values[0],
        "sum": lambda: ops.add(values[0], values[1]),
        "sum with a scaled term": lambda: ops.add(ops.multiply(values[0], _mean(picture)), values[1]),
        "sum with a row": lambda: ops.add(values[0], ops.constant(np.float32(range(WIDTH)))),
        "sum of three": lambda: ops.add(values[0], ops.add(values[1], values[2])),
    }
    network = openvino.Model([more[end]()], [picture])
    given = RANDOM.standard_normal((1, 2, HEIGHT, WIDTH)).astype(np.float32)
    expected = _result(network, given).transpose(0, 2, 3, 1)
    network = ports(openvino, network, channels_last=True)
    np.testing.assert_allclose(_result(network, given), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("variant", ["nano", "micro", "tiny", "swift"])
def test_bundled_networks_change_no_layout_at_their_end(variant, monkeypatch):
    compiled = []
    compiling = cpu._compiled
    monkeypatch.setattr(cpu, "_compiled", lambda *given: compiled.append(compiling(*given)) or compiled[-1])
    choice = make_choice(find_model(variant=variant), backend="openvino", precision="fp32")
    PicturePipeline(choice, height=HEIGHT, width=WIDTH)
    (network,) = compiled
    steps = [step.get_rt_info() for step in network.get_runtime_model().get_ordered_ops()]
    kinds = [step["layerType"] for step in steps]
    last = len(kinds) - kinds[::-1].index("Convolution")
    assert "Transpose" not in kinds[last:]


def test_networks_that_run_together_are_waited_for_when_one_fails():
    waited = []

    class Request:
        def start_async(self):
            pass

        def wait(self):
            waited.append(self)

        def infer(self, share_outputs):
            raise RuntimeError("no memory")

    base = Request()
    with pytest.raises(BackendFailure, match="no memory"):
        _run(Request(), base)
    assert waited == [base]


FIRST_USES = """
import faulthandler, sys, threading
from concurrent.futures import ThreadPoolExecutor
from vsparagon.backends.openvino.library import openvino_core
from vsparagon.lookup import find_model

together = threading.Barrier(8)
def at_once(work):
    def run(_):
        together.wait()
        return work()
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(run, range(8)))

faulthandler.dump_traceback_later(60, exit=True)
sys.setswitchinterval(1e-6)
cores = at_once(openvino_core)
assert len(set(map(id, cores))) == 1, cores
steps = cores[0].read_model(find_model().graph).get_ops()
constant = next(step for step in steps if step.get_type_name() == "Constant")
at_once(lambda: constant.data.size)
"""


def test_threads_may_use_openvino_for_the_first_time_at_once():
    # Several processes, because threads that could stop each other do so in every second one.
    processes = [subprocess.Popen([sys.executable, "-c", FIRST_USES]) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
