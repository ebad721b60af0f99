"""The optimiser SOAP: what makes it more than Adam, and what it must leave alone."""

import pytest
import torch
from torch import nn

from vsparagon.training import soap
from vsparagon.training.optimisation import Optimiser


def losses(kind, outputs, inputs, steps=60):
    """Go down a long and narrow valley in a matrix, seen from turned axes; return the loss at each step."""
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
        weight = nn.Parameter(torch.zeros(5))
        algorithm = Optimiser(type=kind, lr=0.1).create(nn.ParameterList([weight]))
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
    monkeypatch.setattr(soap, "LARGEST_SIDE", 6)
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
