"""Convolutions with several branches while they train, collapsed into one kernel afterwards.

Beside its own kernel a convolution gets a wide 3x3 convolution followed by a 1x1, a 1x1 of its own, and a 1x1 followed
by each of three fixed edge kernels: what Zhang et al., "Edge-oriented convolution block for real-time super resolution
on mobile devices" (2021), train side by side. All of it is linear, so that the sum is one kernel. It is that kernel
which is computed in each step, from the weights of the branches (Bhardwaj et al., "Collapsible linear blocks for
super-efficient super resolution", 2022): the branches cost next to nothing, and there is nothing to convert.
"""

from __future__ import annotations

from operator import attrgetter

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- its usual name
from torch.nn.utils import parametrize

from vsparagon.models.generators import Generator, new_generator

EDGES = (
    ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1)),  # Sobel, across and down
    ((-1, -2, -1), (0, 0, 0), (1, 2, 1)),
    ((0, 1, 0), (1, -4, 1), (0, 1, 0)),  # Laplace
)


class Branches(nn.Module):
    """From a convolution's own kernel to the sum with those of the branches.

    Args:
        outputs, inputs: channels of the convolution.
        wide: channels between the wide 3x3 convolution and its 1x1.
    """

    edges: Tensor

    def __init__(self, outputs: int, inputs: int, wide: int) -> None:
        super().__init__()
        self.wide = nn.Parameter(torch.randn(wide, inputs, 3, 3) * (9 * inputs) ** -0.5)
        self.narrow = nn.Parameter(torch.randn(outputs, wide) * 0.3 * wide**-0.5)
        self.centre = nn.Parameter(torch.zeros(outputs, inputs))
        self.edge = nn.Parameter(torch.zeros(len(EDGES), outputs, inputs))
        self.register_buffer("edges", torch.tensor(EDGES) / 4.0)

    def forward(self, kernel: Tensor) -> Tensor:
        return kernel + self._branches()

    def right_inverse(self, kernel: Tensor) -> Tensor:
        """Return the own kernel that makes the sum this one: a network starts as what it was."""
        return kernel - self._branches().detach()

    def _branches(self) -> Tensor:
        through_wide = torch.einsum("om,mihw->oihw", self.narrow, self.wide)
        through_edges = torch.einsum("eoi,ehw->oihw", self.edge, self.edges)
        return through_wide + through_edges + F.pad(self.centre[:, :, None, None], (1, 1, 1, 1))


def branch_out(network: nn.Module, wide: int) -> None:
    """Give every dense 3x3 convolution of a network its branches; it computes what it did."""
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    for module in convolutions:
        if module.kernel_size == (3, 3) and module.groups == 1 and module.in_channels > 1:
            branches = Branches(module.out_channels, module.in_channels, wide)
            parametrize.register_parametrization(module, "weight", branches)


def collapsed(network: Generator) -> Generator:
    """Return a generator in which each convolution has the one kernel that its branches sum to."""
    plain = new_generator(network.options)
    plain.load_state_dict({name: attrgetter(name)(network).detach() for name in plain.state_dict()})
    return plain
