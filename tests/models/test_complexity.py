"""The cost of networks, compared with counts from elsewhere."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the networks are torch modules")

from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from vsparagon.models.complexity import macs_per_pixel  # noqa: E402
from vsparagon.models.generators import create_generator  # noqa: E402


# Counted on the published networks.
@pytest.mark.parametrize(("variant", "macs"), [("nano", 11_238), ("micro", 19_492)])
def test_multiplications_of_the_published_networks(variant, macs):
    assert macs_per_pixel(create_generator(variant, use_attention=False)) == pytest.approx(macs, abs=0.5)


def test_multiplications_agree_with_torch_on_a_small_frame():
    model = create_generator("tiny", use_attention=False)
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, 40, 48))
    assert macs_per_pixel(model, height=40, width=48) * 40 * 48 == counter.get_total_flops() / 2


def test_attention_counts_every_pair_of_a_window():
    with_attention, without = (create_generator("nano", use_attention=on) for on in (True, False))
    extra = macs_per_pixel(with_attention, height=56, width=32) - macs_per_pixel(without, height=56, width=32)
    pairs = 2 * 1024**2 * (1 + 14) / (56 * 32)  # two windows, one channel in the query and 14 in the value
    projections = 14 * (1 + 1 + 14)
    assert extra == pytest.approx(pairs + projections)


@pytest.mark.parametrize(
    "options", [{}, {"scale": 3, "band_kernel_size": 3}, {"num_blocks": 2, "fast_body_mode": False}]
)
def test_reach_is_how_far_the_gradient_goes(options):
    plain = {"use_attention": False, "use_content_aware": False}
    model = create_generator("nano", **(plain | options)).double()
    for parameter in model.parameters():
        parameter.data = torch.rand_like(parameter) + 0.1
    x = torch.rand(1, 3, 61, 61, dtype=torch.float64, requires_grad=True)
    scale = model.options.scale
    model(x)[..., 30 * scale : 31 * scale, 30 * scale : 31 * scale].sum().backward()
    rows = x.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    assert (30 - rows.min().item(), rows.max().item() - 30) == (model.options.reach,) * 2
