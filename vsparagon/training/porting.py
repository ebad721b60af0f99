"""Starting a network from another one's weights, as far as they fit: from scale 2 to 3 and 4, for example."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Ported:
    """The names of weights, sorted.

    Attributes:
        taken: of the other network, now in this one.
        new: of this network that the other has not, or not in this shape: left as they were.
        unused: of the other network that this one has not, or not in this shape.
    """

    taken: list[str]
    new: list[str]
    unused: list[str]

    def __str__(self) -> str:
        said = [f"{len(self.taken)} weights taken"]
        if self.new:
            said.append(f"new: {', '.join(self.new)}")
        if self.unused:
            said.append(f"left out: {', '.join(self.unused)}")
        return "; ".join(said)


@torch.no_grad()
def port_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> Ported:
    """Copy the weights that the network has by the same name and in the same shape, and say which."""
    own = network.state_dict()
    taken = {name for name, weight in weights.items() if name in own and own[name].shape == weight.shape}
    for name in taken:
        own[name].copy_(weights[name])
    return Ported(taken=sorted(taken), new=sorted(own.keys() - taken), unused=sorted(weights.keys() - taken))
