"""One iteration of a training, against the same by hand."""

import pytest
import torch
from training_runs import GAN, changes, write_config

pytest.importorskip("lightning_fabric", reason="for the extra [train]")

from lightning_fabric import Fabric
from torch import nn

from vsparagon.errors import InvalidInput
from vsparagon.models.generators import new_generator
from vsparagon.models.munet import MUNet
from vsparagon.training.config import read_config
from vsparagon.training.gan import Discrimination
from vsparagon.training.optimisation import average, set_rate
from vsparagon.training.quantisation import begin_ranges, quantise_while_training, trained_ranges
from vsparagon.training.trainee import Trainee

SCALE, SIDE, BORDER = 2, 24, 3


@pytest.fixture
def start(tmp_path):
    """Return a function that begins a training and returns its configuration and it."""

    def call(settings):
        torch.manual_seed(0)
        config = read_config(write_config(tmp_path), changes({"train.loss_border": BORDER} | settings))
        return config, Trainee(config, Fabric(accelerator="cpu", devices=1), pretrained=False)

    return call


@pytest.fixture
def batches():
    """Three batches of low and high resolution, uint8."""
    random = torch.Generator().manual_seed(0)
    return [
        [torch.randint(256, (2, 3, side, side), dtype=torch.uint8, generator=random) for side in (SIDE, SCALE * SIDE)]
        for _ in range(3)
    ]


def assert_alike(found, expected):
    """Assert that named tensors are the same but for rounding."""
    assert found.keys() == expected.keys()
    for name, value in found.items():
        difference, size = (x.double().norm().item() for x in (value - expected[name], expected[name]))
        assert difference <= 1e-4 * size + 1e-12, name


def test_steps_of_a_gan_follow_their_formulas_and_go_on_from_a_state(start, batches):
    gan = {"train.gan_opt": "{gan_weight: 50, gamma: 2}", "train.losses": "[{type: l1loss, loss_weight: 300}]"}
    config, trainee = start(GAN | gan)
    settings, state = config.train, trainee.state(0)
    layout = {"memory_format": torch.channels_last}  # as there: Adam would magnify what is rounded otherwise
    generator, averaged = (new_generator(config.generator()[1]).to(**layout) for _ in range(2))
    for network in (generator, averaged):
        network.load_state_dict(state["generator"])
    judge = Discrimination(MUNet(num_feat=4, ch_mult=(1, 2)), gamma=2.0)
    judge.load_state_dict(state["discriminator"])
    optimisers, ratio = (settings.optim_g.create(generator), settings.optim_d.create(judge)), None

    for iteration, (low, high) in enumerate(batches):
        if iteration == 2:
            before, (_, trainee) = trainee.state(iteration), start(GAN | gan)
            assert trainee.load(before) == iteration
        measured = trainee.step(low, high, iteration)

        for optimiser, of in zip(optimisers, (settings.optim_g, settings.optim_d), strict=True):
            set_rate(optimiser, of.lr, settings.scheduler, iteration=iteration, warmup=4, total=12)
            optimiser.zero_grad()
        inside = (..., *[slice(SCALE * BORDER, SCALE * (SIDE - BORDER))] * 2)
        result, target = generator(low.to(**layout) / 255)[inside], (high.to(**layout) / 255)[inside]
        pixel, fooling = 300 * (result - target).abs().mean(), judge.generator_loss(target, result)
        (pixel + 50 * fooling).backward()
        assert nn.utils.clip_grad_norm_(generator.parameters(), 1.0) > 1, "or else it is not seen that it is limited"
        optimisers[0].step()
        average(averaged, generator, decay=settings.ema_decay, iteration=iteration)
        telling, margin, penalty = judge(target, result)
        telling.backward()
        optimisers[1].step()
        now = (telling / fooling).item()
        ratio = now if ratio is None else ratio + 0.01 * (now - ratio)

    assert not trainee.averaged.training
    state = trainee.state(3)
    assert_alike(state["generator"], generator.state_dict())
    assert_alike(state["averaged"], averaged.state_dict())
    assert_alike(state["discriminator"], judge.state_dict())
    for name, optimiser in zip(("optim_g", "optim_d"), optimisers, strict=True):
        kept = optimiser.state_dict()
        assert state[name]["param_groups"] == kept["param_groups"]
        for number, moments in kept["state"].items():
            assert_alike(state[name]["state"][number], moments)
    expected = {"loss/pixel": pixel, "loss/generator": fooling, "loss/discriminator": telling}
    expected |= {"gan/margin": margin, "gan/penalty": penalty}
    for name, value in expected.items():
        assert measured[name].item() == pytest.approx(value.item(), rel=1e-3), name
    assert trainee.balance(3) == {"gan/ratio": pytest.approx(ratio, rel=1e-4)}


def test_int8_ranges_begin_with_the_first_batch(start, batches):
    # The warm-up is long: the weights stay as they are.
    rounds = {"network_g": "{type: swift_lite, scale: 2}", "train.int8": True, "train.warmup_iter": 1_000_000}
    config, trainee = start(rounds)
    network = new_generator(config.generator()[1])
    network.load_state_dict(trainee.weights().state_dict())
    quantise_while_training(network)
    begin_ranges(network, batches[0][0] / 255)
    expected = torch.tensor(trained_ranges(network))
    for iteration, (low, high) in enumerate((batches[0], (batches[1][0] // 2, batches[1][1]))):
        trainee.step(low, high, iteration)
        for ranges in (trainee.weights().ranges, trained_ranges(trainee._network)):
            torch.testing.assert_close(torch.tensor(ranges), expected, rtol=1e-3, atol=1e-3)


def test_branches_are_trained_and_not_saved(start):
    _, trainee = start({"train.branch_channels": 8})
    trained, saved = trainee.state(0)["generator"], trainee.weights().state_dict()
    assert [any("parametrizations" in name for name in names) for names in (trained, saved)] == [True, False]


def test_run_does_not_go_on_with_another_optimiser_of_the_discriminator(start):
    _, trainee = start(GAN)
    _, other = start(GAN | {"train.optim_d.type": "SOAP"})
    with pytest.raises(InvalidInput, match=r"train\.optim_d\.type was AdamW and is SOAP"):
        other.load(trainee.state(0))
