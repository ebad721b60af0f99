"""Train convolutions with several branches, and collapse these into one kernel afterwards.

In addition to its own kernel, a convolution gets the branches of Zhang et al., "Edge-oriented convolution block for
real-time super resolution on mobile devices" (2021): a wide 3x3 convolution followed by a 1x1, a plain 1x1, and a 1x1
followed by each of three fixed edge kernels. All of them are linear, so their sum is a single 3x3 kernel. Each step
computes that kernel from the weights of the branches and convolves only once (Bhardwaj et al., "Collapsible linear
blocks for super-efficient super resolution", 2022). So the branches cost almost nothing.
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
    """A parametrisation that adds the kernels of the branches to a convolution's own kernel.

    Kernels are outputs,inputs,3,3.

    Args:
        outputs, inputs: channels of the convolution.
        wide: channels between the wide 3x3 convolution and the 1x1 that follows it.
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
        """Return the own kernel for which the sum equals `kernel`, so that the network computes what it did before."""
        return kernel - self._branches().detach()

    def _branches(self) -> Tensor:
        through_wide = torch.einsum("om,mihw->oihw", self.narrow, self.wide)
        through_edges = torch.einsum("eoi,ehw->oihw", self.edge, self.edges)
        return through_wide + through_edges + F.pad(self.centre[:, :, None, None], (1, 1, 1, 1))


def branch_out(network: nn.Module, wide: int) -> None:
    """Add branches, in place, to every 3x3 convolution that is not grouped and has more than one input channel.

    The network still computes what it did before.

    Args:
        network: any.
        wide: as for `Branches`.
    """
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    for module in convolutions:
        if module.kernel_size == (3, 3) and module.groups == 1 and module.in_channels > 1:
            branches = Branches(module.out_channels, module.in_channels, wide)
            parametrize.register_parametrization(module, "weight", branches)


def collapsed(network: Generator) -> Generator:
    """Return a copy of a generator without branches: each convolution has the kernel that they sum to."""
    plain = new_generator(network.options)
    plain.load_state_dict({name: attrgetter(name)(network).detach() for name in plain.state_dict()})
    return plain
