"""Losses, including those of the GAN, compared with their formulas."""

import logging
import math

import numpy as np
import pytest
import torch
from torch import nn

from vsparagon.models.generators import create_generator
from vsparagon.models.munet import MUNet
from vsparagon.training.gan import Balance, Discrimination, GanOptions
from vsparagon.training.losses import CharbonnierLoss, FrequencyLoss, L1Loss, MSELoss, weighted_sum
from vsparagon.training.porting import port_weights


@pytest.fixture
def pictures():
    random = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, 8, 10, generator=random), torch.rand(2, 3, 8, 10, generator=random)


def test_losses_follow_their_formulas(pictures):
    x, y = (p.double().numpy() for p in pictures)
    spectrum = np.fft.rfft2(x - y, norm="ortho")
    wanted = {
        L1Loss(): np.abs(x - y).mean(),
        MSELoss(): ((x - y) ** 2).mean(),
        CharbonnierLoss(eps=0.1): np.sqrt((x - y) ** 2 + 0.01).mean(),
        FrequencyLoss(): np.stack([np.abs(spectrum.real), np.abs(spectrum.imag)]).mean(),
    }
    for loss, value in wanted.items():
        assert loss(*pictures).item() == pytest.approx(value, rel=1e-5), loss
    total = weighted_sum((L1Loss(loss_weight=2.0), FrequencyLoss(loss_weight=0.5), MSELoss()), *pictures)
    expected = 2 * wanted[L1Loss()] + 0.5 * wanted[FrequencyLoss()] + wanted[MSELoss()]
    assert total.item() == pytest.approx(expected, rel=1e-5)


def test_difference_in_luma_and_weighted_chroma():
    grey, tinted = torch.full((1, 3, 4, 4), 0.5), torch.full((1, 3, 4, 4), 0.5)
    tinted[:, 2] += 0.3  # blue counts 0.114 in luma, 0.5 in Cb and -0.081312 in Cr
    luma, cb, cr = 0.3 * 0.114, 0.3 * 0.5, 0.3 * 0.081312
    for weight in (0.0, 0.25, 1.0):
        loss = L1Loss(chroma_weight=weight)(tinted, grey).item()
        assert loss == pytest.approx((luma + weight * (cb + cr)) / 3, rel=1e-5)


def test_frequency_loss_stays_in_float32(pictures):
    low = FrequencyLoss()(*(p.bfloat16() for p in pictures))
    assert low.dtype == torch.float32
    assert low.item() == pytest.approx(FrequencyLoss()(*pictures).item(), rel=0.02)


@pytest.mark.parametrize(
    ("iteration", "weight"), [(0, 0.01), (5, 0.03), (10, 0.05), (20, 0.075), (30, 0.1), (999, 0.1)]
)
def test_ramp_is_straight_between_its_points(iteration, weight):
    options = GanOptions(gan_weight=0.1, gan_weight_init=0.01, gan_weight_steps=((10, 0.05), (30, 0.1)))
    assert options.weight(iteration) == pytest.approx(weight)
    assert GanOptions(gan_weight=0.1).weight(iteration) == 0.1


class Squares(nn.Module):
    """Logits w * x^2 of the first channel: an averaged logit has the gradient 2 w x / (H W)."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(1.7))

    def forward(self, x):
        return self.w * x[:, :1].square()


def test_discriminator_loss_follows_its_formula(pictures):
    real, fake = pictures
    judge = Discrimination(Squares(), gamma=0.8)
    loss, margin, penalty = judge(real, fake)
    a, b = (p[:, 0].double().flatten(1).numpy() for p in pictures)
    d = 1.7 * ((a**2).mean(1) - (b**2).mean(1))
    r1, r2 = (((2 * 1.7 * p / 80) ** 2).sum(1).mean() for p in (a, b))
    assert not margin.requires_grad
    assert not penalty.requires_grad
    assert margin.item() == pytest.approx(d.mean(), rel=1e-4)
    assert penalty.item() == pytest.approx(r1 + r2, rel=1e-4)
    assert loss.item() == pytest.approx(np.log1p(np.exp(-d)).mean() + 0.4 * (r1 + r2), rel=1e-5)
    loss.backward()
    slope = -(d / 1.7 / (1 + np.exp(d))).mean() + 0.4 * 2 / 1.7 * (r1 + r2)  # through the penalty as well
    assert judge.network.w.grad.item() == pytest.approx(slope, rel=1e-3)


def test_generator_loss_reaches_the_fake_alone(pictures):
    real, fake = (p.clone().requires_grad_() for p in pictures)
    judge = Discrimination(Squares(), gamma=0.8)
    loss = judge.generator_loss(real, fake)
    a, b = (p[:, 0].double().flatten(1).numpy() for p in pictures)
    d = 1.7 * ((a**2).mean(1) - (b**2).mean(1))
    assert loss.item() == pytest.approx(np.log1p(np.exp(d)).mean(), rel=1e-5)
    loss.backward()
    assert real.grad is None
    assert judge.network.w.grad is None
    assert judge.network.w.requires_grad
    wanted = -2 * 1.7 * b / 80 / (1 + np.exp(-d))[:, None] / 2
    np.testing.assert_allclose(fake.grad[:, 0].flatten(1).numpy(), wanted, rtol=1e-4, atol=1e-8)
    assert not fake.grad[:, 1:].any()


def test_fixed_weights_of_a_discriminator_stay_fixed():
    network = MUNet(num_feat=4, ch_mult=(1, 2))
    fixed = [name for name, weight in network.named_parameters() if not weight.requires_grad]
    judge = Discrimination(network, 1.0)
    judge.generator_loss(torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16))
    assert fixed
    assert fixed == [name for name, weight in network.named_parameters() if not weight.requires_grad]


def test_spectral_normalisation_goes_on_in_the_discriminators_steps_alone():
    torch.manual_seed(0)
    judge, real, fake = Discrimination(MUNet(num_feat=4, ch_mult=(1, 2)), 1.0), *torch.rand(2, 1, 3, 16, 16)

    def moves(loss) -> bool:
        before = {name: buffer.clone() for name, buffer in judge.named_buffers()}
        loss(real, fake)
        return any(not torch.equal(buffer, before[name]) for name, buffer in judge.named_buffers())

    assert [moves(loss) for loss in (judge, judge.generator_loss, judge)] == [True, False, True]


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_penalties_of_flat_pictures_are_finite(value):
    torch.manual_seed(0)
    judge = Discrimination(MUNet(num_feat=4, ch_mult=(1, 2, 4, 8)), gamma=6.0)
    flat = torch.full((2, 3, 32, 32), value)
    loss, _, penalty = judge(flat, flat)
    loss.backward()
    assert math.isfinite(loss.item())
    assert math.isfinite(penalty.item())
    gradients = [weight.grad for weight in judge.parameters() if weight.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_discriminator_learns_to_tell_blurred_pictures():
    torch.manual_seed(0)
    judge = Discrimination(MUNet(num_feat=6, ch_mult=(1, 2)), gamma=6.0)
    optimiser = torch.optim.AdamW(judge.parameters(), lr=1e-3, weight_decay=0)
    margins = []
    for _ in range(60):
        real = torch.rand(4, 3, 24, 24)
        loss, margin, penalty = judge(real, torch.nn.functional.avg_pool2d(real, 3, 1, 1))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        margins.append(margin.item())
        assert math.isfinite(penalty.item())
    assert abs(margins[0]) < 0.1 < 0.3 < margins[-1]
    assert loss.item() < 0.9 * math.log(2)
    assert judge.generator_loss(real, real).item() == pytest.approx(math.log(2), rel=1e-6)


def test_discriminator_leaves_mixed_precision(pictures):
    torch.manual_seed(0)
    network = MUNet(num_feat=4, ch_mult=(1, 2)).eval()
    judge = Discrimination(network, gamma=6.0)
    real, fake = (torch.nn.functional.interpolate(p, (16, 16)) for p in pictures)
    margins = network(real).mean((1, 2, 3)) - network(fake).mean((1, 2, 3))
    with torch.autocast("cpu", torch.bfloat16):
        margin, loss = judge(real, fake)[1], judge.generator_loss(real, fake)
    assert margin.item() == pytest.approx(margins.mean().item(), abs=1e-6)
    assert loss.item() == pytest.approx(torch.nn.functional.softplus(margins).mean().item(), abs=1e-6)


def test_balance_warns_once_until_it_is_back(caplog):
    balance = Balance()

    def settle(ratio: float) -> str:
        caplog.clear()
        for _ in range(2000):
            balance.update(*torch.tensor([2 * ratio, 2.0], requires_grad=True))
        assert not balance.ratio.requires_grad
        with caplog.at_level(logging.WARNING):
            assert balance.check(7) == pytest.approx(ratio, rel=1e-3)
        return caplog.text

    assert "iteration 7" in (said := settle(0.1))
    assert "0.10" in said
    assert "the discriminator is too strong" in said
    assert settle(0.12) == ""
    assert settle(0.6) == ""
    assert "the generator is too strong" in settle(0.9)


def test_balance_begins_with_what_is_measured(caplog):
    balance = Balance()
    balance.update(torch.tensor(0.72), torch.tensor(0.69))
    assert balance.check(1) == pytest.approx(0.72 / 0.69)
    assert "iteration 1: discriminator / generator loss is 1.04, outside 0.3 to 0.7" in caplog.text


def test_porting_takes_what_fits_and_names_the_rest():
    torch.manual_seed(0)
    small = create_generator("nano", scale=2, use_attention=False)
    large = create_generator("nano", scale=3, use_attention=True)
    new = {name: weight.clone() for name, weight in large.state_dict().items()}
    weights = small.state_dict() | {"something.else": torch.zeros(1)}
    ported = port_weights(large, weights)
    up = ["upsampler_net.up_conv.bias", "upsampler_net.up_conv.weight"]
    assert ported.unused == ["something.else", *up]
    assert set(up) < set(ported.new)
    assert all("attention" in name for name in set(ported.new) - set(up))
    assert len(ported.taken) == len(small.state_dict()) - 2
    for name, weight in large.state_dict().items():
        assert torch.equal(weight, weights[name] if name in ported.taken else new[name]), name
    assert str(ported).endswith("left out: something.else, " + ", ".join(up))
