"""The losses of R3GAN, and whether discriminator and generator are in balance.

Huang et al., "The GAN is dead; long live the GAN! A modern GAN baseline" (2024): a relativistic pairing loss with
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

HEALTHY = (0.3, 0.7)  # range of the discriminator's loss divided by the generator's, from the design document


class GanOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`train.gan_opt` of a configuration.

    Attributes:
        type: of the loss.
        gan_weight: factor on the generator's adversarial loss after the ramp.
        gan_weight_init: factor at the start of the ramp; not used without one.
        gan_weight_steps: the ramp, as points (iterations since the GAN started, factor) with linear interpolation; the
            last factor must be `gan_weight`. Empty for no ramp.
        gamma: each gradient penalty is multiplied by gamma / 2.
    """

    type: Literal["r3ganloss"] = "r3ganloss"
    gan_weight: Annotated[float, Meta(ge=0)] = 0.03
    gan_weight_init: Annotated[float, Meta(ge=0)] = 0.0
    gan_weight_steps: tuple[tuple[int, float], ...] = ()
    gamma: Annotated[float, Meta(ge=0)] = 6.0

    def __post_init__(self) -> None:
        times = [time for time, _ in self.gan_weight_steps]
        if times != sorted(set(times)) or (times and times[0] < 1):
            raise InvalidInput(f"gan_weight_steps has the iterations {times}; they must rise, and start at 1 or later.")
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
    """A discriminator and its loss. It runs in float32 even in mixed precision, as second derivatives need it.

    Args:
        network: maps N,3,H,W to logits; no picture may influence another's logits.
        gamma: as in `GanOptions`.
    """

    def __init__(self, network: nn.Module, gamma: float) -> None:
        super().__init__()
        self.network, self._gamma = network, gamma
        self._trained = [weight for weight in network.parameters() if weight.requires_grad]

    def forward(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return (loss, margin, penalty) of the discriminator, all scalars.

        D is the mean of a picture's logits, and d = D(real) - D(fake) for each pair. The loss is
        mean softplus(-d) + (gamma / 2) * penalty. The penalty is R1 + R2, each the mean over pictures of
        |dD / d picture|^2, summed over channels and pixels. The margin, mean d, says how well real and generated
        pictures are told apart.

        Args:
            real, fake: N,3,H,W of nominal range 0..1; they get no gradient.
        """
        with torch.autocast(real.device.type, enabled=False):
            pictures = torch.cat((real, fake)).detach().float().requires_grad_()
            logits = self.network(pictures).mean((1, 2, 3))
            (gradient,) = torch.autograd.grad(logits.sum(), pictures, create_graph=True)
            penalty = gradient.square().sum((1, 2, 3)).mean() * 2  # R1 + R2: the mean is over N real and N fake ones
            of_real, of_fake = logits.chunk(2)
            margin = of_real - of_fake
            loss = F.softplus(-margin).mean() + self._gamma / 2 * penalty
        return loss, margin.mean().detach(), penalty.detach()

    def generator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the generator's adversarial loss, mean softplus(d), a scalar with a gradient for `fake` alone.

        The network runs in eval mode. Otherwise spectral normalisation would take a step in each of the two calls,
        and real and fake would be judged with different weights.

        Args:
            real, fake: N,3,H,W of nominal range 0..1.
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
        ratio: moving average over about 100 iterations, a scalar; 0 before the first one.
    """

    def __init__(self) -> None:
        self.ratio = torch.tensor(0.0)
        self._warned = False

    def update(self, discriminator: Tensor, generator: Tensor) -> None:
        """Add the losses (scalars) of one iteration to the moving average."""
        now = discriminator.detach() / generator.detach()
        average = self.ratio.to(now.device)
        self.ratio = torch.where(average > 0, average.lerp(now, 0.01), now)

    def check(self, iteration: int) -> float:
        """Return the ratio, and log a warning when it leaves `HEALTHY`; the next one comes only after it was back."""
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
