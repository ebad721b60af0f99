"""Quantisation-aware training: weights and features of a generator are quantised to 8 bits while it trains.

The weights of every convolution but the first, whose input is the picture, are rounded to 255 levels, symmetric about
0, in steps that are as small as the weights of each output channel allow. The result of each PReLU is rounded to 256
levels of a range that is trained too. Gradients pass straight through the rounding (Bengio et al., "Estimating or
propagating gradients through stochastic neurons for conditional computation", 2013), and values outside a range move
its ends (Esser et al., "Learned step size quantization", 2020). `vsparagon.backends.openvino.quantisation` does the
same at run time.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from vsparagon.backends.openvino.quantisation import largest_weights
from vsparagon.models.swift import Ranges, Swift

STEPS = 255  # between the 256 levels of a range
MOST = 127  # largest rounded weight, in steps
BEYOND = 2e-5  # share of the values at each end that lie outside an initial range


class QuantisedWeight(nn.Module):
    """A parametrisation that rounds a convolution's kernel, out,in,height,width."""

    def forward(self, kernel: Tensor) -> Tensor:
        most = torch.from_numpy(largest_weights(kernel.detach().cpu().numpy())).to(kernel)
        step = most.clamp_min(torch.finfo().tiny) / MOST
        return _passing(kernel / step) * step

    def right_inverse(self, kernel: Tensor) -> Tensor:
        """Return the kernel unchanged, so that the network computes what it did before, except for the rounding."""
        return kernel


class QuantisedPReLU(nn.PReLU):
    """A PReLU whose result is rounded and clamped to the levels of a trained range, one of which is 0.

    Args:
        active: the PReLU to replace; its weight is shared.
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
        """Set the range from values that the PReLU computed (any shape), ignoring the share `BEYOND` at each end."""
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
        """Return the distance between levels, and the number of the level that is 0; the latter has no gradient."""
        step = (self.high - self.low) / STEPS
        return step, (-self.low / step).detach().round().clamp(0, STEPS - 1)


def quantise_while_training(network: Swift) -> None:
    """Set up quantisation in a generator, in place. Call `begin_ranges` before the first step."""
    for name, module in list(network.body.named_children()):
        if isinstance(module, nn.PReLU):
            setattr(network.body, name, QuantisedPReLU(module))
    _, *others = (module for module in network.modules() if isinstance(module, nn.Conv2d))
    for module in others:
        parametrize.register_parametrization(module, "weight", QuantisedWeight())


@torch.no_grad()
def begin_ranges(network: Swift, pictures: Tensor) -> None:
    """Set all ranges from the features that a generator computes for some pictures, N,3,H,W of 0..1."""
    x = pictures.clamp(0.0, 1.0)
    for module in network.body:
        if isinstance(module, QuantisedPReLU):
            module.begin(nn.PReLU.forward(module, x))
        x = module(x)


def limits_of(network: nn.Module) -> list[nn.Parameter]:
    """Return the parameters for the ends of all ranges."""
    active = [module for module in network.modules() if isinstance(module, QuantisedPReLU)]
    return [limit for module in active for limit in (module.low, module.high)]


def trained_ranges(network: nn.Module) -> Ranges:
    """Return the ranges (lowest and highest level) of a generator in order; () if it is not quantised."""
    return tuple(module.range() for module in network.modules() if isinstance(module, QuantisedPReLU))


def _passing(x: Tensor) -> Tensor:
    """Round, with the gradient of the identity."""
    return x + (x.round() - x).detach()
