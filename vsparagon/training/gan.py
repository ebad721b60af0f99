"""R3GAN: what a discriminator and a generator want of each other, and whether they are in balance.

Huang et al., "The GAN is dead; long live the GAN! A modern GAN baseline", 2024: a relativistic pairing loss with
zero-centred gradient penalties on real (R1) and on generated pictures (R2). Logits are N,1,H,W.
"""

from __future__ import annotations

import logging
from typing import Annotated, Literal

import msgspec
import numpy as np
import torch
from msgspec import Meta
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- its usual name

from vsparagon.errors import InvalidInput

log = logging.getLogger(__name__)

HEALTHY = (0.3, 0.7)
"""Discriminator's loss over generator's loss, as the design document has it."""


class GanOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`train.gan_opt` of a configuration.

    Attributes:
        type: the loss.
        gan_weight: factor on the generator's adversarial loss once the ramp is over.
        gan_weight_init: the factor when the GAN starts, where there is a ramp.
        gan_weight_steps: the ramp, as (iterations since the start of the GAN, factor); straight between them.
        gamma: (gamma / 2) weighs each gradient penalty.
    """

    type: Literal["r3ganloss"] = "r3ganloss"
    gan_weight: Annotated[float, Meta(ge=0)] = 0.03
    gan_weight_init: Annotated[float, Meta(ge=0)] = 0.0
    gan_weight_steps: tuple[tuple[int, float], ...] = ()
    gamma: Annotated[float, Meta(ge=0)] = 6.0

    def __post_init__(self) -> None:
        times = [time for time, _ in self.gan_weight_steps]
        if times != sorted(set(times)) or (times and times[0] < 1):
            raise InvalidInput(f"gan_weight_steps counts {times}; the iterations must rise from at least 1.")
        if times and self.gan_weight_steps[-1][1] != self.gan_weight:
            raise InvalidInput(
                f"gan_weight_steps ends at {self.gan_weight_steps[-1][1]} and gan_weight is {self.gan_weight}; "
                "make them equal."
            )

    def weight(self, iteration: int) -> float:
        """Return the factor on the generator's adversarial loss, `iteration` steps after the start of the GAN."""
        if not self.gan_weight_steps:
            return self.gan_weight
        times, weights = zip((0, self.gan_weight_init), *self.gan_weight_steps, strict=True)
        return float(np.interp(iteration, times, weights))


class Discrimination(nn.Module):
    """A discriminator and its loss, in float32 even in mixed precision: second derivatives need the digits.

    Args:
        network: logits from N,3,H,W; no picture may influence another's logits.
        gamma: weight of the penalties.
    """

    def __init__(self, network: nn.Module, gamma: float) -> None:
        super().__init__()
        self.network, self._gamma = network, gamma
        self._trained = [weight for weight in network.parameters() if weight.requires_grad]

    def forward(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return (loss, margin, penalty) of the discriminator.

        With each picture's logits averaged and d = D(real) - D(fake) pair by pair, the loss is
        mean softplus(-d) + (gamma / 2) * penalty; the penalty is R1 + R2, R being the mean over the pictures of the
        squared gradient of their averaged logit, summed over their pixels. The margin, mean d, says how well real
        and fake are told apart.

        Args:
            real, fake: N,3,H,W of nominal range 0..1; nothing flows back to what made them.
        """
        with torch.autocast(real.device.type, enabled=False):
            pictures = torch.cat((real, fake)).detach().float().requires_grad_()
            logits = self.network(pictures).mean((1, 2, 3))
            (gradient,) = torch.autograd.grad(logits.sum(), pictures, create_graph=True)
            penalty = gradient.square().sum((1, 2, 3)).mean() * 2  # R1 + R2: a mean over twice as many pictures
            of_real, of_fake = logits.chunk(2)
            margin = of_real - of_fake
            loss = F.softplus(-margin).mean() + self._gamma / 2 * penalty
        return loss, margin.mean().detach(), penalty.detach()

    def generator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return mean softplus(d), differentiable to `fake` alone.

        The network is in eval mode meanwhile: otherwise spectral normalisation would take a step before each of the
        two calls, and real and fake would be judged by different weights.
        """
        for weight in self._trained:
            weight.requires_grad_(False)
        self.network.eval()
        with torch.autocast(real.device.type, enabled=False):
            of_real, of_fake = (self.network(x.float()).mean((1, 2, 3)) for x in (real.detach(), fake))
            loss = F.softplus(of_real - of_fake).mean()
        self.network.train()
        for weight in self._trained:
            weight.requires_grad_()
        return loss


class Balance:
    """Watches the ratio of the discriminator's loss to the generator's.

    Attributes:
        ratio: a moving average over about 100 iterations; it starts in the middle of the healthy range.
    """

    def __init__(self) -> None:
        self.ratio = torch.tensor(sum(HEALTHY) / 2)
        self._warned = False

    def update(self, discriminator: Tensor, generator: Tensor) -> None:
        """Take the losses of one iteration."""
        self.ratio = self.ratio.to(generator.device).lerp(discriminator.detach() / generator.detach(), 0.01)

    def check(self, iteration: int) -> float:
        """Return the ratio, and warn when it has left the healthy range, once until it is back."""
        (low, high), ratio = HEALTHY, self.ratio.item()
        outside = not low <= ratio <= high
        if outside and not self._warned:
            log.warning(
                "iteration %d: discriminator / generator loss is %.2f, outside %.1f to %.1f: the %s is too strong",
                iteration,
                ratio,
                low,
                high,
                "discriminator" if ratio < low else "generator",
            )
        self._warned = outside
        return ratio
