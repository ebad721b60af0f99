"""Initialise a network from another's weights where they fit, for example one for scale 3 from one for scale 2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Ported:
    """Which weights were copied; all lists are sorted names.

    Attributes:
        taken: weights that were copied.
        new: weights of this network that the other does not have in this shape; they are unchanged.
        unused: weights of the other network that this one does not have in this shape.
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
    """Copy weights into a network, in place, where name and shape match, and return which they were."""
    own = network.state_dict()
    taken = {name for name, weight in weights.items() if name in own and own[name].shape == weight.shape}
    for name in taken:
        own[name].copy_(weights[name])
    return Ported(taken=sorted(taken), new=sorted(own.keys() - taken), unused=sorted(weights.keys() - taken))
