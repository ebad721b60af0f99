"""The optimiser SOAP: Adam in a rotated basis, the directions in which a layer's gradients vary most.

Vyas et al., "SOAP: improving and stabilizing Shampoo using Adam" (2024). Each weight is treated as a matrix, outputs by
everything else. Moving averages of its gradients' covariances along both sides are kept, and Adam works in the basis of
their eigenvectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

LARGEST_SIDE = 2048  # a longer side of a matrix is not rotated, because updating its basis would take too long
EVERY = 10  # steps between two updates of the bases
SIDES = ("outputs", "inputs")


class SOAP(torch.optim.Optimizer):
    """The optimiser. Its state consists of tensors and numbers only.

    Args:
        params: the weights.
        lr: learning rate.
        betas: decay of the gradients' mean, and of their squares and covariances.
        weight_decay: decoupled, as in AdamW.
        eps: added to the root of the mean squares.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        lr: float,
        betas: tuple[float, float] = (0.95, 0.95),
        weight_decay: float = 0.0,
        eps: float = 1e-8,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move all weights that have a gradient; the first step only initialises the bases from it."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    _move(weight, self.state[weight], **{k: group[k] for k in ("lr", "betas", "weight_decay", "eps")})
        return loss


def _move(
    weight: Tensor,
    state: dict[str, Any],
    *,
    lr: float,
    betas: tuple[float, float],
    weight_decay: float,
    eps: float,
) -> None:
    assert weight.grad is not None
    gradient = weight.grad.reshape(len(weight) if weight.ndim > 1 else 1, -1)
    if not state:
        state.update(_initial(gradient))
        return
    first, second = betas
    state["step"] += 1
    mean, squares = state["mean"], state["squares"]
    mean.lerp_(gradient, 1 - first)
    turned = _turned(gradient, state)
    squares.mul_(second).addcmul_(turned, turned, value=1 - second)
    unbiased = (1 - second ** state["step"]) ** 0.5 / (1 - first ** state["step"])
    direction = _turned_back(_turned(mean, state) / (squares.sqrt() + eps), state) * unbiased
    weight.mul_(1 - lr * weight_decay)
    weight.sub_((lr * direction).reshape(weight.shape))

    turns = state["step"] % EVERY == 1
    for axis, side in enumerate(SIDES):
        if side in state:
            covariance = state[f"{side}_covariance"]
            covariance.lerp_(_covariance(gradient, axis), 1 - second)
            if turns:
                _turn(state, side, axis)


def _initial(gradient: Tensor) -> dict[str, Any]:
    """Return the initial state of a weight, with bases from its first gradient."""
    state: dict[str, Any] = {
        "step": 0,
        "mean": torch.zeros_like(gradient),
        "squares": torch.zeros_like(gradient),
    }
    for axis, side in enumerate(SIDES):
        if min(gradient.shape) > 1 and gradient.shape[axis] <= LARGEST_SIDE:
            covariance = _covariance(gradient, axis)
            state[f"{side}_covariance"] = covariance
            state[side] = torch.linalg.eigh(covariance).eigenvectors
    return state


def _covariance(gradient: Tensor, axis: int) -> Tensor:
    return gradient @ gradient.T if axis == 0 else gradient.T @ gradient


def _turned(x: Tensor, state: dict[str, Any]) -> Tensor:
    """Return a matrix expressed in the bases."""
    if "outputs" in state:
        x = state["outputs"].T @ x
    return x @ state["inputs"] if "inputs" in state else x


def _turned_back(x: Tensor, state: dict[str, Any]) -> Tensor:
    if "outputs" in state:
        x = state["outputs"] @ x
    return x @ state["inputs"].T if "inputs" in state else x


def _turn(state: dict[str, Any], side: str, axis: int) -> None:
    """Update a basis by one step of orthogonal iteration, with the largest eigenvalues first."""
    basis, covariance = state[side], state[f"{side}_covariance"]
    order = (basis * (covariance @ basis)).sum(0).argsort(descending=True)
    state["squares"] = state["squares"].index_select(axis, order)
    state[side] = torch.linalg.qr(covariance @ basis[:, order]).Q
