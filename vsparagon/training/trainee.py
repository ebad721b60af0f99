"""The networks that a run trains: a generator with its moving average, and a discriminator if it has one."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import torch
from lightning_fabric import Fabric
from torch import Tensor

from vsparagon.errors import InvalidInput, ModelError, reason_of
from vsparagon.models.bundled import WEIGHTS
from vsparagon.models.checkpoint import read_checkpoint
from vsparagon.models.generators import Generator, new_generator
from vsparagon.models.munet import MUNet
from vsparagon.models.swift import Swift
from vsparagon.system.files import expanded
from vsparagon.training.config import Config
from vsparagon.training.gan import Balance, Discrimination
from vsparagon.training.losses import weighted_sum
from vsparagon.training.optimisation import average, set_rate
from vsparagon.training.porting import port_weights
from vsparagon.training.quantisation import begin_ranges, limits_of, quantise_while_training, trained_ranges
from vsparagon.training.reparameterisation import branch_out, collapsed

log = logging.getLogger(__name__)

LEAST_SHARE = 0.25  # of the trained tensors that pretrained weights must fit; another scale changes one or two


class Trainee:
    """The networks of a configuration, with their optimisers.

    Args:
        config: the configuration.
        fabric: gives the device and the precision.
        pretrained: whether to start from `path.pretrain_network_g`, if the configuration has one.

    Attributes:
        averaged: moving average of the generator, which is what is measured and saved; in eval mode.

    Raises:
        InvalidInput: the pretrained weights belong to another network.
        ModelError: the pretrained weights cannot be read.
    """

    def __init__(self, config: Config, fabric: Fabric, *, pretrained: bool) -> None:
        _, options = config.generator()
        self._fabric, self._settings = fabric, config.train
        self._fixed = _fixed(config)
        network = new_generator(options).to(memory_format=torch.channels_last)
        if config.path.pretrain_network_g and pretrained:
            _begin_from(expanded(config.path.pretrain_network_g), network)
        if self._settings.branch_channels:
            branch_out(network, self._settings.branch_channels)
        if self._settings.int8:
            assert isinstance(network, Swift)  # `vsparagon.training.config`
            quantise_while_training(network)
        self.averaged = copy.deepcopy(network).eval().to(fabric.device)
        self._network = network
        self._generator, self._optim_g = fabric.setup(network, self._settings.optim_g.create(network))
        self._holders: dict[str, Any] = {"generator": network, "averaged": self.averaged, "optim_g": self._optim_g}
        self._balance = Balance()
        if config.network_d and self._settings.gan_opt:
            d = config.network_d
            munet = MUNet(num_in_ch=d.num_in_ch, num_feat=d.num_feat, ch_mult=d.ch_mult)
            self._judge = Discrimination(munet, self._settings.gan_opt.gamma)
            self._discriminator, self._optim_d = fabric.setup(self._judge, self._settings.optim_d.create(self._judge))
            self._holders |= {"discriminator": self._judge, "optim_d": self._optim_d}
        border = self._settings.loss_border * options.scale
        self._inside = slice(border, config.datasets.train.lq_size * options.scale - border)

    def step(self, low: Tensor, high: Tensor, iteration: int) -> dict[str, Tensor]:
        """Do one iteration, and return its figures (scalars) by their names in TensorBoard.

        Args:
            low, high: N,3,lq_size,lq_size and N,3,scale*lq_size,scale*lq_size, uint8, on the right device.
            iteration: counted from 0.
        """
        settings, gan = self._settings, self._settings.gan_opt
        when = {"iteration": iteration, "warmup": settings.warmup_iter, "total": settings.total_iter}
        rate = set_rate(self._optim_g, settings.optim_g.lr, settings.scheduler, **when)
        low, high = (x.to(memory_format=torch.channels_last).float() / 255 for x in (low, high))
        if settings.int8 and iteration == 0:
            self._begin_ranges(low)
        result, target = self._generator(low)[..., self._inside, self._inside], high[..., self._inside, self._inside]
        loss = weighted_sum(settings.losses, result, target)
        measured = {"loss/pixel": loss, "rate": torch.tensor(rate)}

        adversarial = iteration - settings.gan_start_iter
        if gan and adversarial >= 0:
            loss_gan = self._judge.generator_loss(target, result)
            loss = loss + gan.weight(adversarial) * loss_gan
            measured |= {"loss/generator": loss_gan}
        self._optim_g.zero_grad()
        self._fabric.backward(loss)
        if settings.grad_clip:
            self._fabric.clip_gradients(self._generator, self._optim_g, max_norm=1.0, error_if_nonfinite=False)
        self._optim_g.step()
        average(self.averaged, self._network, decay=settings.ema_decay, iteration=iteration)

        if gan and adversarial >= 0:
            set_rate(self._optim_d, settings.optim_d.lr, settings.scheduler, **when)
            loss_d, margin, penalty = self._discriminator(target, result)
            self._optim_d.zero_grad()
            self._fabric.backward(loss_d)
            self._optim_d.step()
            self._balance.update(loss_d, loss_gan)
            measured |= {"loss/discriminator": loss_d, "gan/margin": margin, "gan/penalty": penalty}
        return measured

    def balance(self, done: int) -> dict[str, float]:
        """Return the ratio of the discriminator's loss to the generator's, and warn if one of them is too strong.

        Args:
            done: number of iterations done.

        Returns:
            The ratio by its name in TensorBoard; empty before the GAN starts.
        """
        adversarial = self._settings.gan_opt and done > self._settings.gan_start_iter
        return {"gan/ratio": self._balance.check(done)} if adversarial else {}

    def weights(self) -> Generator:
        """Return the averaged generator as it is saved: without branches, and with the trained int8 ranges."""
        weights = collapsed(self.averaged)
        if isinstance(weights, Swift):
            weights.ranges = trained_ranges(self.averaged)
        return weights

    def _begin_ranges(self, low: Tensor) -> None:
        """Set the int8 ranges from the first batch, N,3,H,W of 0..1, to the same values in every process."""
        for network in (self._network, self.averaged):
            assert isinstance(network, Swift)
            begin_ranges(network, low)
            for limit in limits_of(network):
                mean = self._fabric.all_reduce(limit.data, reduce_op="mean")
                assert isinstance(mean, Tensor)
                limit.data.copy_(mean)

    def state(self, done: int) -> dict[str, Any]:
        """Return everything that `load` needs to resume after `done` iterations."""
        held = {name: holder.state_dict() for name, holder in self._holders.items()}
        return held | {"iteration": done, "ratio": self._balance.ratio, "fixed": self._fixed}

    def load(self, state: Mapping[str, Any]) -> int:
        """Resume from a state, and return how many iterations are done.

        Learning rates, betas and weight decay stay those of the configuration.

        Raises:
            InvalidInput: the state belongs to another generator, discriminator or optimiser, or to other settings of
                `branch_channels` or `int8`.
            ModelError: it is not the state of a run, or does not fit the networks.
        """
        was = state.get("fixed", self._fixed)
        keys = {**was, **self._fixed}
        changed = [
            f"{key} was {was.get(key, 'absent')} and is {self._fixed.get(key, 'absent')}"
            for key in keys
            if was.get(key) != self._fixed.get(key)
        ]
        if changed:
            raise InvalidInput(
                f"the saved state belongs to another configuration: {'; '.join(changed)}. Change that back, or choose "
                "another name."
            )
        try:
            for name, holder in self._holders.items():
                holder.load_state_dict(state[name])
            done, self._balance.ratio = int(state["iteration"]), state["ratio"]
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise ModelError(
                "cannot resume from the saved state: it belongs to another network, or is not the state of a run "
                f"({reason_of(error)})."
            ) from error
        for name in ("optim_g", "optim_d"):
            for group in self._holders[name].param_groups if name in self._holders else ():
                chosen = getattr(self._settings, name)
                group |= {"weight_decay": chosen.weight_decay, "betas": chosen.betas}
        return done


def _begin_from(path: Path, network: Generator) -> None:
    try:
        weights = read_checkpoint(path).weights
    except ModelError as error:
        raise ModelError(f"path.pretrain_network_g: {error} The bundled weights are in {WEIGHTS}.") from error
    ported = port_weights(network, weights)
    trained = [name for name, weight in network.named_parameters() if weight.requires_grad]
    fits = sum(name in ported.taken for name in trained)
    if fits < LEAST_SHARE * len(trained):
        raise InvalidInput(
            f"path.pretrain_network_g is {path}, whose weights belong to another network: only {fits} of the "
            f"{len(trained)} needed here fit."
        )
    log.info("%s: %s", path, ported)


def _fixed(config: Config) -> dict[str, Any]:
    """Return the settings that a resumed run cannot change, by their keys in the configuration."""
    settings, d = config.train, config.network_d
    fixed = {f"network_g.{name}": value for name, value in asdict(config.generator()[1]).items()}
    fixed |= {"train.branch_channels": settings.branch_channels, "train.optim_g.type": settings.optim_g.type}
    fixed |= {"train.int8": settings.int8}
    if d:
        fixed |= {f"network_d.{name}": str(value) for name, value in msgspec.structs.asdict(d).items()}
        fixed |= {"train.optim_d.type": settings.optim_d.type}
    return fixed
