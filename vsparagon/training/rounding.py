"""A generator that learns to be computed in 8-bit integers: weights and features are rounded while it trains.

Each convolution but the first, which is given the picture, has its weights rounded to 255 levels, as many below 0 as
above, up to the largest of each output channel; what stands behind a PReLU is rounded to 256 levels of a range that is
trained, too. The gradient passes by the rounding (Bengio et al., "Estimating or propagating gradients through
stochastic neurons for conditional computation", 2013), and moves a range where it is exceeded (Esser et al., "Learned
step size quantization", 2020). `vsparagon.backends.openvino.rounding` rounds the same when it runs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from vsparagon.models.swift import Ranges, Swift

STEPS = 255  # between the levels of a range
MOST = 127  # of a weight, in its own steps
BEYOND = 2e-5  # share of the values at each end that a range leaves out to begin with


class RoundedWeight(nn.Module):
    """From a convolution's kernel, out,in,height,width, to the one that is computed with."""

    def forward(self, kernel: Tensor) -> Tensor:
        step = kernel.detach().abs().amax((1, 2, 3), keepdim=True).clamp_min(torch.finfo().tiny) / MOST
        return _passing(kernel / step) * step

    def right_inverse(self, kernel: Tensor) -> Tensor:
        """Return the kernel itself: a network starts as near to what it was as rounding allows."""
        return kernel


class RoundedPReLU(nn.PReLU):
    """A PReLU whose result is rounded to the levels of a range, of which one is 0.

    Args:
        active: the PReLU whose place this takes.
    """

    def __init__(self, active: nn.PReLU) -> None:
        super().__init__(active.num_parameters)
        self.weight = active.weight
        self.low, self.high = nn.Parameter(torch.tensor([-1.0])), nn.Parameter(torch.tensor([1.0]))

    def forward(self, x: Tensor) -> Tensor:
        step, zero = self._levels()
        level = _passing(super().forward(x) / step) + zero
        return (level.clamp(0, STEPS) - zero) * step

    def begin(self, values: Tensor) -> None:
        """Take the range of what the PReLU makes of some pictures."""
        ordered = values.flatten().sort().values
        beyond = int(BEYOND * len(ordered))
        with torch.no_grad():
            self.low.fill_(min(0.0, ordered[beyond].item()))
            self.high.fill_(ordered[-1 - beyond].item())

    def range(self) -> tuple[float, float]:
        """Return the lowest and the highest level."""
        step, zero = (number.item() for number in self._levels())
        return -zero * step, (STEPS - zero) * step

    def _levels(self) -> tuple[Tensor, Tensor]:
        """Return the distance of the levels, and which of them is 0."""
        step = (self.high - self.low) / STEPS
        return step, (-self.low / step).detach().round().clamp(0, STEPS - 1)


def round_while_training(network: Swift) -> None:
    """Let a generator be rounded as said above; `begin_ranges` comes before the first step."""
    for name, module in list(network.body.named_children()):
        if isinstance(module, nn.PReLU):
            setattr(network.body, name, RoundedPReLU(module))
    _, *others = (module for module in network.modules() if isinstance(module, nn.Conv2d))
    for module in others:
        parametrize.register_parametrization(module, "weight", RoundedWeight())


@torch.no_grad()
def begin_ranges(network: Swift, pictures: Tensor) -> None:
    """Take all ranges from what a generator computes of some pictures, N,3,H,W of 0..1."""
    x = pictures.clamp(0.0, 1.0)
    for module in network.body:
        if isinstance(module, RoundedPReLU):
            module.begin(nn.PReLU.forward(module, x))
        x = module(x)


def limits_of(network: nn.Module) -> list[nn.Parameter]:
    """Return the ends of all ranges."""
    return [
        limit for module in network.modules() if isinstance(module, RoundedPReLU) for limit in (module.low, module.high)
    ]


def trained_ranges(network: nn.Module) -> Ranges:
    """Return the ranges of a generator in order; () where it is not rounded."""
    return tuple(module.range() for module in network.modules() if isinstance(module, RoundedPReLU))


def _passing(x: Tensor) -> Tensor:
    """Round; the gradient is that of the number itself."""
    return x + (x.round() - x).detach()
