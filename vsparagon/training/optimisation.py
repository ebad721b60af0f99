"""Optimisers, their learning rates over the iterations, and the moving average of the weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal

import msgspec
import torch
from msgspec import Meta
from torch import nn

from vsparagon.training.soap import SOAP

Positive = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0, lt=1)]

ALGORITHMS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "AdamW": torch.optim.AdamW,
    "Adam": torch.optim.Adam,
    "SOAP": SOAP,
}


class Optimiser(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`train.optim_g` or `train.optim_d` of a configuration.

    Attributes:
        type: algorithm, from `torch.optim` or `vsparagon.training.soap`.
        lr: highest learning rate.
        weight_decay, betas: as in `torch.optim`.
    """

    type: Literal["AdamW", "Adam", "SOAP"] = "AdamW"
    lr: Positive = 2e-3
    weight_decay: Annotated[float, Meta(ge=0)] = 0.0
    betas: tuple[Share, Share] = (0.9, 0.99)

    def create(self, network: nn.Module) -> torch.optim.Optimizer:
        """Return an optimiser for a network's trainable weights."""
        weights = [weight for weight in network.parameters() if weight.requires_grad]
        return ALGORITHMS[self.type](weights, lr=self.lr, weight_decay=self.weight_decay, betas=self.betas)


class CosineAnnealing(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="CosineAnnealingLR"
):
    """Half a cosine from the end of the warm-up to the end of the run (Loshchilov and Hutter, "SGDR", 2017).

    Attributes:
        end_factor: factor on the highest learning rate at the end of the run. (torch's `eta_min` is the rate itself.)
    """

    end_factor: Annotated[float, Meta(ge=0, le=1)] = 0.01

    def factor(self, iteration: int, warmup: int, total: int) -> float:
        """Return the factor on the highest rate."""
        progress = min(1.0, (iteration - warmup) / max(1, total - warmup))
        return self.end_factor + (1 - self.end_factor) * 0.5 * (1 + math.cos(math.pi * progress))


class MultiStep(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="MultiStepLR"
):
    """A learning rate that is multiplied by `gamma` at each of the `milestones`, which are iterations."""

    milestones: tuple[int, ...]
    gamma: Annotated[float, Meta(gt=0, le=1)] = 0.5

    def factor(self, iteration: int, warmup: int, total: int) -> float:
        """Return the factor on the highest rate."""
        return float(self.gamma ** sum(iteration >= milestone for milestone in self.milestones))


def set_rate(
    optimiser: torch.optim.Optimizer,
    highest: float,
    scheduler: CosineAnnealing | MultiStep,
    *,
    iteration: int,
    warmup: int,
    total: int,
) -> float:
    """Set and return the learning rate of an iteration: a linear rise in the warm-up, then a schedule.

    Args:
        optimiser: whose parameter groups all get the rate.
        highest: the rate at the end of the warm-up.
        scheduler: gives the factor on `highest` after the warm-up.
        iteration: counted from 0.
        warmup, total: iterations of the warm-up and of the whole run.
    """
    if iteration < warmup:
        rate = highest * (iteration + 1) / warmup
    else:
        rate = highest * scheduler.factor(iteration, warmup, total)
    for group in optimiser.param_groups:
        group["lr"] = rate
    return rate


@torch.no_grad()
def average(averaged: nn.Module, current: nn.Module, *, decay: float, iteration: int) -> None:
    """Move averaged weights, in place, towards the current ones; early iterations are forgotten faster.

    Args:
        averaged, current: networks of the same structure.
        decay: share of the average that is kept, 0 to 1; less is kept in the first iterations.
        iteration: counted from 0.
    """
    kept = min(decay, (1 + iteration) / (10 + iteration))
    for mean, weight in zip(averaged.state_dict().values(), current.state_dict().values(), strict=True):
        mean.lerp_(weight, 1 - kept)
