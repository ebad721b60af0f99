"""The inference form gives the picture of the published form, once extended and cropped by the filter, faster."""

from __future__ import annotations

import numpy as np
import pytest
from goldens import generator_names, golden

torch = pytest.importorskip("torch", reason="the networks are torch modules")

from vsparagon.geometry.extension import extension_for  # noqa: E402
from vsparagon.models.complexity import macs_per_pixel  # noqa: E402
from vsparagon.models.generators import create_generator  # noqa: E402
from vsparagon.models.inference import inference_form  # noqa: E402

# Folded kernels have other values, which are summed in another order.
FOLDING_TOLERANCE = 1e-4


pytestmark = pytest.mark.usefixtures("no_gradient")


def filtered(model, picture):
    """Return what the filter outputs: the picture extended, enlarged and cropped."""
    extension = extension_for(*picture.shape[2:])
    extended = np.zeros((1, 3, extension.extended_height, extension.extended_width), np.float32)
    extension.picture(extended)[...] = picture
    extension.fill(extended)
    result = model(torch.from_numpy(extended)).numpy()
    return extension.picture(result, model.options.scale, getattr(model, "shift", 0))


def random_weights(variant, **options):
    """Return a new generator in which every part affects the result."""
    model = create_generator(variant, **options).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("gamma"):
            parameter.fill_(0.3)
        elif name.endswith("bias"):
            parameter.normal_(std=0.1)
    return model


def assert_same_picture(model, picture):
    np.testing.assert_allclose(
        filtered(inference_form(model), picture), filtered(model, picture), rtol=0, atol=FOLDING_TOLERANCE
    )


@pytest.mark.parametrize("name", generator_names())
def test_published_weights_give_the_same_picture(name, real_picture):
    assert_same_picture(golden(name).generator(), real_picture[..., 60:131, 170:260])


@pytest.mark.parametrize("size", [(5, 4), (32, 33), (47, 130)])
def test_same_picture_at_any_size(size, real_picture):
    assert_same_picture(golden("nano_x2").generator(), real_picture[..., : size[0], : size[1]])


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_same_picture_at_every_scale(scale, real_picture):
    model = random_weights("nano", scale=scale, use_attention=False)
    assert_same_picture(model, real_picture[..., 100:140, 200:264])


@pytest.mark.parametrize(
    "options",
    [
        {"upsampler_alpha": 0.0},
        {"use_content_aware": False},
        {"use_channel_mod": True},
        {"use_norm": True, "use_attention": True},
        {"num_feat": 40, "num_groups": 2, "num_blocks": 2, "fast_body_mode": False},  # an analyser without packing
        {"band_kernel_size": 15},  # a context in parts
    ],
)
def test_same_picture_with_every_option(options, real_picture):
    model = random_weights("nano", **({"use_attention": False} | options))
    assert_same_picture(model, real_picture[..., 100:140, 200:264])


@pytest.mark.parametrize("name", ["nano_x2_no_attention", "micro_x3"])
def test_fast_form_is_another_and_cheaper_computation(name):
    model = golden(name).generator()
    assert macs_per_pixel(inference_form(model)) < 0.9 * macs_per_pixel(model)


def test_published_form_is_left_as_it_was():
    model = random_weights("micro").train()
    before = {n: t.clone() for n, t in model.state_dict().items()}
    inference_form(model)
    assert model.training
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())
    assert all(p.requires_grad for n, p in model.named_parameters() if "magic" not in n)


def test_low_precision_or_channels_last_model_gives_a_float32_form():
    model = random_weights("nano").to(torch.bfloat16)
    assert {p.dtype for p in inference_form(model).parameters()} == {torch.float32}


@pytest.mark.parametrize(
    "options", [{}, {"use_channel_mod": True}, {"use_attention": True}, {"upsampler_alpha": 0.0}], ids=str
)
@pytest.mark.parametrize("shape", [(1, 1), (2, 3)], ids=str)
@pytest.mark.parametrize("scale", [2, 3])
def test_base_inside_the_body_gives_the_same_picture(options, shape, scale, real_picture):
    groups, blocks = shape
    options = {"use_attention": False, "num_groups": groups, "num_blocks": blocks, "fast_body_mode": False} | options
    model = random_weights("nano", scale=scale, use_content_aware=False, **options)
    form = inference_form(model)
    assert form.base_inside
    assert not hasattr(form, "smooth")
    assert_same_picture(model, real_picture[..., 100:188, 200:301])


@pytest.mark.parametrize(
    ("variant", "options"), [("nano", {}), ("micro", {"use_content_aware": False}), ("nano", {"use_norm": True})]
)
def test_base_stays_apart_where_it_does_not_fit(variant, options):
    assert not inference_form(random_weights(variant, use_attention=False, **options)).base_inside
