"""Channels of zeros that fill the vectors of short-vector processors leave the results as they are."""

import numpy as np
import openvino
import pytest
from clips import photograph
from goldens import golden_paths
from openvino import opset13 as ops

from vsparagon import Upscaler
from vsparagon.backends.openvino import cpu, vectors
from vsparagon.backends.openvino.library import has_avx512, openvino_core
from vsparagon.backends.openvino.vectors import widen

HEIGHT, WIDTH = 12, 17
PICTURE = photograph(60, 90)
RANDOM = np.random.default_rng(0)


def _numbers(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def _convolution(value, before, after, side=3):
    made = ops.convolution(value, ops.constant(_numbers(after, before, side, side)), [1, 1], [1, 1], [1, 1], [1, 1])
    return ops.add(made, ops.constant(_numbers(1, after, 1, 1)))


def _depthwise(value, channels):
    kernel = ops.constant(_numbers(channels, 1, 1, 3, 3))
    return ops.group_convolution(value, kernel, [1, 1], [1, 1], [1, 1], [1, 1])


def _result(network, picture):
    compiled = openvino_core().compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled(picture)[0].copy()


def _widths(network):
    return [step.get_output_shape(0)[1] for step in network.get_ordered_ops() if "Convolution" in step.get_type_name()]


def _mean(value):
    return ops.reduce_mean(value, ops.constant([1]), keep_dims=True)


ENDS = {
    "in a row": (lambda x: _convolution(_convolution(x, 3, 5), 5, 12), [8, 16]),
    "full already": (lambda x: _convolution(_convolution(x, 3, 16), 16, 8), [16, 8]),
    "depthwise": (lambda x: _convolution(_depthwise(_convolution(x, 3, 10), 10), 10, 4), [16, 16, 8]),
    "depthwise, of the picture": (lambda x: _convolution(_depthwise(x, 3), 3, 4), [3, 8]),
    "grouped by two": (
        lambda x: ops.group_convolution(
            _convolution(x, 3, 6), ops.constant(_numbers(3, 2, 2, 3, 3)), [1, 1], [1, 1], [1, 1], [1, 1]
        ),
        [6, 6],
    ),
    "a slope": (lambda x: ops.prelu(_convolution(x, 3, 6), ops.constant(np.float32([0.1]))), [8]),
    "slopes": (lambda x: ops.prelu(_convolution(x, 3, 6), ops.constant(_numbers(6))), [8]),
    "slopes, by broadcast": (lambda x: ops.prelu(_convolution(x, 3, 6), ops.constant(_numbers(6, 1, 1))), [8]),
    "factors": (lambda x: ops.multiply(ops.constant(_numbers(6, 1, 1)), _convolution(x, 3, 6)), [8]),
    "a limit": (lambda x: ops.minimum(_convolution(x, 3, 6), ops.constant(np.float32(0.2))), [8]),
    "a row of the picture": (lambda x: ops.multiply(_convolution(x, 3, 6), ops.constant(_numbers(WIDTH))), [6]),
    "a row as long as there are channels": (
        lambda x: ops.multiply(_convolution(x, 3, WIDTH), ops.constant(_numbers(WIDTH))),
        [WIDTH],
    ),
    "a column as long as there are channels": (
        lambda x: ops.multiply(_convolution(x, 3, HEIGHT), ops.constant(_numbers(HEIGHT, 1))),
        [HEIGHT],
    ),
    "a picture": (lambda x: ops.multiply(_convolution(x, 3, 6), ops.constant(_numbers(HEIGHT, WIDTH))), [6]),
    "a sum": (lambda x: ops.add(_convolution(x, 3, 6), _convolution(x, 3, 6)), [8, 8]),
    "a sum with the picture": (lambda x: ops.add(_convolution(x, 3, 3), x), [3]),
    "a sum that the picture reaches": (
        lambda x: ops.add(ops.add(_convolution(x, 3, 3), x), ops.clamp(_convolution(x, 3, 3), 0, 1)),
        [3, 3],
    ),
    "by one channel": (lambda x: ops.multiply(_convolution(x, 3, 6), _convolution(x, 3, 1)), [6, 1]),
    "a mean of all channels": (lambda x: _convolution(_mean(_convolution(x, 3, 6)), 1, 6), [6, 8]),
    "a shuffle": (lambda x: ops.depth_to_space(_convolution(_convolution(x, 3, 6), 6, 12), "depth_first", 2), [8, 12]),
}


@pytest.mark.parametrize("end", ENDS)
def test_results_stay_as_they_are(end):
    make, expected = ENDS[end]
    picture = ops.parameter([1, 3, HEIGHT, WIDTH], np.float32)
    network = openvino.Model([make(picture)], [picture])
    given = _numbers(1, 3, HEIGHT, WIDTH)
    before = _result(network, given)
    widen(openvino, network)
    assert sorted(_widths(network)) == sorted(expected)
    after = _result(network, given)
    np.testing.assert_allclose(after[:, : before.shape[1]], before, rtol=1e-4, atol=1e-4)
    assert not after[:, before.shape[1] :].any()


NETWORKS = [
    *({"variant": variant, "scale": scale} for variant in ("nano", "micro", "swift") for scale in (2, 3, 4)),
    {"variant": "tiny"},
    {"model": str(golden_paths()["micro_x2_full_body"])},
]


@pytest.mark.parametrize("network", NETWORKS, ids=str)
@pytest.mark.parametrize("planes", [3, 1])
def test_networks_give_the_same_picture(network, planes, monkeypatch, tmp_path):
    given = PICTURE[..., :planes].astype(np.float32) / 255
    results, widened = [], []
    monkeypatch.setattr(cpu, "widen", lambda *given: widened.append(widen(*given)))
    for short in (False, True):
        monkeypatch.setattr(cpu, "are_short", lambda short=short: short)
        results.append(Upscaler(**network, backend="openvino", cache=str(tmp_path / str(short)))(given))
    assert len(widened) == 1
    np.testing.assert_allclose(results[1], results[0], atol=1e-5)


def test_integers_are_not_widened(monkeypatch):
    monkeypatch.setattr(cpu, "are_short", lambda: True)
    monkeypatch.setattr(cpu, "widen", lambda *_: pytest.fail("widened"))
    Upscaler("swift", backend="openvino", precision="int8")(PICTURE)


@pytest.mark.parametrize(
    ("machine", "wide", "expected"),
    [("x86_64", False, True), ("AMD64", False, True), ("x86_64", True, False), ("aarch64", False, False)],
)
def test_which_processors_have_short_vectors(machine, wide, expected, monkeypatch):
    monkeypatch.setattr(vectors.platform, "machine", lambda: machine)
    monkeypatch.setattr(vectors, "has_avx512", lambda: wide)
    assert vectors.are_short() is expected


def test_avx512_is_what_openvino_computes_with():
    """`has_avx512` trusts a capability of another name."""
    picture = ops.parameter([1, 16, HEIGHT, WIDTH], np.float32)
    network = openvino.Model([_convolution(picture, 16, 16)], [picture])
    compiled = openvino_core().compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    steps = [step.get_rt_info() for step in compiled.get_runtime_model().get_ordered_ops()]
    (kind,) = (step["primitiveType"].value for step in steps if step["layerType"].value == "Convolution")
    assert has_avx512() is ("avx512" in kind), kind
