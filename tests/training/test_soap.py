"""The optimiser SOAP: how it differs from Adam, and what it must not change."""

import pytest
import torch
from torch import nn

from vsparagon.training import soap
from vsparagon.training.optimisation import Optimiser


def losses(kind, outputs, inputs, steps=60):
    """Minimise an ill-conditioned function of a matrix, with rotated axes, and return the loss at each step."""
    random = torch.Generator().manual_seed(0)
    start, target = torch.randn(2, 6, 6, generator=random, dtype=torch.float64)
    steep = torch.logspace(0, 2, 6, dtype=torch.float64)
    weight = nn.Parameter(outputs @ start @ inputs)
    algorithm = Optimiser(type=kind, lr=0.03, betas=(0.95, 0.95)).create(nn.ParameterList([weight]))
    seen = []
    for _ in range(steps):
        away = outputs.T @ weight @ inputs.T - target
        loss = (steep[:, None] * steep * away.square()).sum()
        algorithm.zero_grad()
        loss.backward()
        algorithm.step()
        seen.append(loss.item())
    return seen


def test_how_a_matrix_lies_makes_a_difference_to_adam_alone():
    random = torch.Generator().manual_seed(1)
    turned = torch.linalg.qr(torch.randn(2, 6, 6, generator=random, dtype=torch.float64)).Q
    straight = torch.eye(6, dtype=torch.float64).expand(2, 6, 6)
    for kind, alike in (("SOAP", True), ("AdamW", False)):
        one, other = losses(kind, *straight), losses(kind, *turned)
        assert one[-1] < one[0] / 2
        assert (one == pytest.approx(other, rel=1e-3)) == alike


def test_a_vector_moves_as_by_adam_one_step_later():
    gradients = [torch.randn(5, generator=torch.Generator().manual_seed(i)) for i in range(6)]
    results = []
    for kind, given in (("SOAP", [torch.ones(5), *gradients]), ("AdamW", gradients)):
        weight = nn.Parameter(torch.ones(5))
        algorithm = Optimiser(type=kind, lr=0.1, weight_decay=0.5).create(nn.ParameterList([weight]))
        for gradient in given:
            weight.grad = gradient.clone()
            algorithm.step()
        results.append(weight.detach())
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("shape", [(), (4,), (1, 4, 1, 1), (4, 3, 3, 3), (3, 4, 5)])
def test_weights_of_any_shape_are_moved(shape):
    weight = nn.Parameter(torch.ones(shape))
    algorithm = Optimiser(type="SOAP", lr=0.1).create(nn.ParameterList([weight]))
    for seed in range(3):
        weight.grad = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        algorithm.step()
    assert weight.isfinite().all()
    assert (weight != 1).all()


def test_a_side_that_is_too_long_keeps_its_directions(monkeypatch):
    monkeypatch.setattr(soap, "LARGEST_SIDE", 4)
    weight = nn.Parameter(torch.ones(4, 8))
    algorithm = Optimiser(type="SOAP", lr=0.1).create(nn.ParameterList([weight]))
    for _ in range(3):
        weight.grad = torch.randn(4, 8)
        algorithm.step()
    assert {"outputs", "inputs"} & algorithm.state[weight].keys() == {"outputs"}


def test_bases_stay_orthogonal_and_weights_decay():
    weight = nn.Parameter(torch.ones(4, 3, 3, 3))
    algorithm = Optimiser(type="SOAP", lr=0.01, weight_decay=0.5).create(nn.ParameterList([weight]))
    before = weight.detach().clone()
    for seed in range(25):
        weight.grad = torch.zeros_like(weight) if seed == 7 else torch.randn(weight.shape) * 1e-3
        algorithm.step()
    for side in ("outputs", "inputs"):
        basis = algorithm.state[weight][side]
        torch.testing.assert_close(basis.T @ basis, torch.eye(len(basis)), rtol=0, atol=1e-5)
    assert weight.norm() < before.norm()


def test_bases_turn_to_the_directions_in_which_gradients_vary_lately():
    random = torch.Generator().manual_seed(0)
    covariances = {"outputs": torch.zeros(3, 3), "inputs": torch.zeros(4, 4)}
    weight = nn.Parameter(torch.zeros(3, 4))
    algorithm = Optimiser(type="SOAP", lr=0.01, betas=(0.9, 0.95)).create(nn.ParameterList([weight]))
    for step in range(72):  # the bases turn in the last one
        spread = torch.tensor([1.0, 4.0, 16.0]) if step else torch.tensor([16.0, 4.0, 1.0])
        gradient = spread[:, None] * torch.randn(3, 4, generator=random) * torch.tensor([1.0, 64.0, 16.0, 4.0])
        kept = 0.95 if step else 0.0
        for side, now in (("outputs", gradient @ gradient.T), ("inputs", gradient.T @ gradient)):
            covariances[side] = kept * covariances[side] + (1 - kept) * now
        weight.grad = gradient
        algorithm.step()
    for side, covariance in covariances.items():
        torch.testing.assert_close(algorithm.state[weight][f"{side}_covariance"], covariance, rtol=1e-4, atol=0)
        directions = torch.linalg.eigh(covariance).eigenvectors.flip(1)
        alike = (algorithm.state[weight][side].T @ directions).abs()
        torch.testing.assert_close(alike, torch.eye(len(alike)), rtol=0, atol=0.1)


def test_mean_squares_go_with_the_directions_that_they_are_of():
    squares = torch.arange(12.0).reshape(3, 4)
    state = {"squares": squares, "outputs": torch.eye(3), "outputs_covariance": torch.diag(torch.tensor([1.0, 3, 2]))}
    soap._turn(state, "outputs", 0)
    torch.testing.assert_close(state["outputs"].abs(), torch.eye(3)[:, [1, 2, 0]])
    torch.testing.assert_close(state["squares"], squares[[1, 2, 0]])
    state |= {"inputs": torch.eye(4), "inputs_covariance": torch.diag(torch.tensor([1.0, 2, 4, 3]))}
    soap._turn(state, "inputs", 1)
    torch.testing.assert_close(state["squares"], squares[[1, 2, 0]][:, [2, 3, 1, 0]])


def test_bases_turn_at_every_tenth_step(monkeypatch):
    turned = []
    monkeypatch.setattr(soap, "_turn", lambda state, side, axis: turned.append((state["step"], side)))
    weight = nn.Parameter(torch.ones(4, 3))
    algorithm = Optimiser(type="SOAP", lr=0.1).create(nn.ParameterList([weight]))
    for _ in range(22):  # the first one only initialises the state
        weight.grad = torch.randn(4, 3)
        algorithm.step()
    assert turned == [(step, side) for step in (1, 11, 21) for side in ("outputs", "inputs")]


def test_gradients_may_be_computed_within_a_step_and_weights_without_any_stay():
    weight, unused = nn.Parameter(torch.ones(4, 3)), nn.Parameter(torch.ones(4, 3))
    algorithm = Optimiser(type="SOAP", lr=0.1).create(nn.ParameterList([unused, weight]))

    def closure():
        algorithm.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        return loss

    assert algorithm.step(closure).item() == 12
    algorithm.step(closure)
    assert weight.square().sum() < 12
    assert (unused == 1).all()
