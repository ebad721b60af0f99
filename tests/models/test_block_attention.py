"""Attention by polynomials: the published result where they are used, and full attention where they are inexact."""

from __future__ import annotations

import numpy as np
import pytest
from goldens import golden

torch = pytest.importorskip("torch", reason="the networks are torch modules")
pytest.importorskip("onnx", reason="ONNX files are written with onnx")

from vsparagon.models import block_attention  # noqa: E402
from vsparagon.models.attention import LocalWindowAttention  # noqa: E402
from vsparagon.models.block_attention import BlockAttention  # noqa: E402
from vsparagon.models.generators import create_generator  # noqa: E402
from vsparagon.models.inference import inference_form  # noqa: E402
from vsparagon.onnx import block_attention as onnx_block_attention  # noqa: E402
from vsparagon.onnx.export import onnx_model  # noqa: E402

TOLERANCE = 1e-4
WITH_ATTENTION = ["nano_x2", "nano_x2_no_content"]


pytestmark = pytest.mark.usefixtures("no_gradient")


def sharper(form, times):
    """Multiply the logits of a form by `times`."""
    for module in form.modules():
        if isinstance(module, BlockAttention):
            module.exact.query.weight.mul_(times)
    return form


def in_full(form, x, monkeypatch):
    """Return the result with full attention."""
    with monkeypatch.context() as patch:
        patch.setattr(BlockAttention, "follow", lambda self, windows: False)
        return form(x).numpy()


def without_attention(form, x, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(BlockAttention, "forward", lambda self, given: 0.0)
        return form(x).numpy()


def without_guard(monkeypatch):
    for module in (block_attention, onnx_block_attention):
        monkeypatch.setattr(module, "TOLERANCE", 1e9)
        monkeypatch.setattr(module, "largest_r", lambda points: 1e9)


def forbidden(self, x):
    raise AssertionError("in full")


def run(runtime, model, x):
    if runtime == "openvino":
        pytest.importorskip("openvino")
        from vsparagon.backends.openvino.library import openvino_core

        config = {"INFERENCE_PRECISION_HINT": "f32"}
        network = openvino_core().read_model(model.SerializeToString())
        return openvino_core().compile_model(network, "CPU", config)(x)[0]
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"input": x})[0]


@pytest.mark.parametrize("name", WITH_ATTENTION)
def test_polynomials_give_the_result_of_attention_that_matters(name, real_picture, monkeypatch):
    form = inference_form(golden(name).generator())
    x = torch.from_numpy(real_picture[..., 100:156, 150:230])
    wanted = in_full(form, x, monkeypatch)
    assert np.abs(without_attention(form, x, monkeypatch) - wanted).max() > 100 * TOLERANCE
    monkeypatch.setattr(BlockAttention, "_in_full", forbidden)
    np.testing.assert_allclose(form(x).numpy(), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("times", [4, 12, 40])
def test_large_logits_are_left_to_attention_in_full(times, real_picture, monkeypatch):
    form = sharper(inference_form(golden("nano_x2_no_content").generator()), times)
    x = torch.from_numpy(real_picture[..., 100:156, 150:230])
    wanted = in_full(form, x, monkeypatch)
    np.testing.assert_allclose(form(x).numpy(), wanted, rtol=0, atol=1e-5)
    if times == 40:
        without_guard(monkeypatch)
        assert np.abs(form(x).numpy() - wanted).max() > TOLERANCE


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_graph_decides_by_itself_at_any_size(runtime, real_picture, monkeypatch):
    for times in (1, 40):
        form = sharper(inference_form(golden("nano_x2_no_content").generator()), times)
        model = onnx_model(form)
        for height, width in [(56, 80), (32, 104), (40, 48)]:  # the last with windows that are not whole
            x = np.ascontiguousarray(real_picture[..., 100 : 100 + height, 150 : 150 + width])
            wanted = in_full(form, torch.from_numpy(x), monkeypatch)
            np.testing.assert_allclose(run(runtime, model, x), wanted, rtol=0, atol=2e-5)
    without_guard(monkeypatch)
    assert np.abs(run(runtime, onnx_model(form), x) - wanted).max() < TOLERANCE, "it must be full for cropped windows"
    x = np.ascontiguousarray(real_picture[..., 100:156, 150:230])
    assert np.abs(run(runtime, onnx_model(form), x) - in_full(form, torch.from_numpy(x), monkeypatch)).max() > TOLERANCE


def test_graph_is_another_than_the_published_and_always_the_same():
    model = golden("nano_x2_no_content").generator()
    graphs = [onnx_model(inference_form(model)) for _ in range(2)]
    assert graphs[0].SerializeToString(deterministic=True) == graphs[1].SerializeToString(deterministic=True)
    assert [node.op_type for node in graphs[0].graph.node].count("If") == 1
    assert "Softmax" not in {node.op_type for node in graphs[0].graph.node}, "it must be only in the branch"
    published = {node.op_type for node in onnx_model(model).graph.node}
    assert "Softmax" in published
    assert "If" not in published


def test_logits_far_apart_in_the_sample_leave_attention_as_it_is():
    model = golden("nano_x2_no_content").generator()
    for module in model.modules():
        if isinstance(module, LocalWindowAttention):
            module.query.weight.mul_(20)
    assert not any(isinstance(module, BlockAttention) for module in inference_form(model).modules())


def test_more_than_one_number_in_the_query_leaves_attention_as_it_is():
    form = inference_form(create_generator("nano", ffn_expansion=2.0))
    assert not any(isinstance(module, BlockAttention) for module in form.modules())


def test_picture_of_one_colour_is_that_of_attention_in_full(monkeypatch):
    form = inference_form(golden("nano_x2").generator())
    x = torch.full((1, 3, 56, 56), 0.5)
    np.testing.assert_allclose(form(x).numpy(), in_full(form, x, monkeypatch), rtol=0, atol=1e-5)
