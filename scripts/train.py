"""Train a ParagonSR2 generator, for fidelity alone or against a discriminator.

    python scripts/train.py --config configs/nano_x2_clean.yml
    python scripts/train.py --config configs/nano_x2_clean.yml --set train.total_iter=1000 path.resume_state=auto
    torchrun --nproc-per-node 4 scripts/train.py --config configs/s_x2_clean.yml

The run's folder, runs/NAME, receives NAME.safetensors (averaged weights, which the filter loads), last.state (to go
on from) and TensorBoard's files. Whenever the run ends, `path.resume_state=auto` goes on from the last checkpoint,
and on the CPU exactly as if it had not ended.
"""

from __future__ import annotations

import argparse
import copy
import logging
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn
from tqdm.contrib.logging import logging_redirect_tqdm

from vsparagon.checkpoint import read_checkpoint, save_generator
from vsparagon.errors import InvalidInput, ParagonError
from vsparagon.models.generators import new_generator
from vsparagon.models.munet import MUNet
from vsparagon.training.branches import branch_out, collapsed
from vsparagon.training.config import Config, read_config
from vsparagon.training.data import CropPairs, folders, load_batches
from vsparagon.training.gan import Balance, Discrimination
from vsparagon.training.losses import weighted_sum
from vsparagon.training.monitor import Monitor
from vsparagon.training.optimisation import average, set_rate
from vsparagon.training.porting import port_weights
from vsparagon.training.state import is_finite, load_state, save_state
from vsparagon.training.validation import enlarger, load_pairs, mean_quality

log = logging.getLogger("train")


def train(config: Config) -> None:
    """Run a configuration from its beginning or its last checkpoint to its end."""
    variant, options = config.generator()
    settings, data, scale = config.train, config.datasets.train, options.scale
    folder = Path(config.path.experiments_root) / config.name
    state_file = folder / "last.state"
    resumed = _resumed(config, state_file)
    torch.manual_seed(config.manual_seed)
    if config.threads:
        torch.set_num_threads(config.threads)
    fabric = Fabric(
        devices=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
        num_nodes=int(os.environ.get("GROUP_WORLD_SIZE", "1")),
        precision=config.precision,
    )
    fabric.launch()

    # The networks, with their optimisers.
    network = new_generator(options).to(memory_format=torch.channels_last)
    parameters = network.trainable_parameters()
    if config.path.pretrain_network_g and not resumed:
        ported = port_weights(network, read_checkpoint(Path(config.path.pretrain_network_g)).weights)
        log.info("%s: %s", config.path.pretrain_network_g, ported)
    if settings.branch_channels:
        branch_out(network, settings.branch_channels)
    averaged = copy.deepcopy(network).eval().to(fabric.device)
    generator, optim_g = fabric.setup(network, settings.optim_g.create(network))
    holders: dict[str, Any] = {"generator": network, "averaged": averaged, "optim_g": optim_g}
    gan, balance = settings.gan_opt, Balance()
    if config.network_d and gan:
        d = config.network_d
        judge = Discrimination(MUNet(num_in_ch=d.num_in_ch, num_feat=d.num_feat, ch_mult=d.ch_mult), gan.gamma)
        discriminator, optim_d = fabric.setup(judge, settings.optim_d.create(judge))
        holders |= {"discriminator": judge, "optim_d": optim_d}

    # Where to begin.
    begin = 0
    if resumed:
        for name, holder in holders.items():
            holder.load_state_dict(resumed[name])
        begin, balance.ratio = resumed["iteration"], resumed["ratio"]
        log.info("goes on after iteration %d", begin)

    # The data.
    crops = CropPairs(data, scale=scale, seed=config.manual_seed)
    batches = fabric.setup_dataloaders(
        load_batches(
            crops, data, begin=begin, end=settings.total_iter, rank=fabric.global_rank, processes=fabric.world_size
        ),
        use_distributed_sampler=False,
    )
    border = settings.loss_border * scale
    inside = slice(border, data.lq_size * scale - border)
    note = (
        f"{settings.total_iter} iterations of {data.batch_size_per_gpu * fabric.world_size} crops of "
        f"{data.lq_size}x{data.lq_size} from {crops.pictures} pictures; {config.name}"
    )
    log.info("%s: %d parameters, %d pictures", config.name, parameters, crops.pictures)

    monitor = None
    if fabric.is_global_zero:
        folder.mkdir(parents=True, exist_ok=True)
        monitor = Monitor(folder / "tensorboard", begin=begin, total=settings.total_iter)

    for iteration, (low, high) in zip(range(begin, settings.total_iter), batches, strict=True):
        when = {"iteration": iteration, "warmup": settings.warmup_iter, "total": settings.total_iter}
        rate = set_rate(optim_g, settings.optim_g.lr, settings.scheduler, **when)
        low, high = (x.to(memory_format=torch.channels_last).float() / 255 for x in (low, high))
        result, target = generator(low)[..., inside, inside], high[..., inside, inside]
        loss = weighted_sum(settings.losses, result, target)
        measured = {"loss/pixel": loss}

        adversarial = iteration - settings.gan_start_iter
        if gan and adversarial >= 0:
            loss_gan = judge.generator_loss(target, result)
            loss = loss + gan.weight(adversarial) * loss_gan
            measured |= {"loss/generator": loss_gan}
        optim_g.zero_grad()
        fabric.backward(loss)
        if settings.grad_clip:
            fabric.clip_gradients(generator, optim_g, max_norm=1.0, error_if_nonfinite=False)
        optim_g.step()
        average(averaged, network, decay=settings.ema_decay, iteration=iteration)

        if gan and adversarial >= 0:
            set_rate(optim_d, settings.optim_d.lr, settings.scheduler, **when)
            loss_d, margin, penalty = discriminator(target, result)
            optim_d.zero_grad()
            fabric.backward(loss_d)
            optim_d.step()
            balance.update(loss_d, loss_gan)
            measured |= {"loss/discriminator": loss_d, "gan/margin": margin, "gan/penalty": penalty}

        # What follows costs time only now and then.
        done = iteration + 1
        last = done == settings.total_iter
        saves = last or done % config.logger.save_checkpoint_freq == 0
        if done % config.logger.print_freq == 0 or saves:
            numbers = {name: _mean(fabric, value) for name, value in measured.items()} | {"rate": rate}
            if not all(map(math.isfinite, numbers.values())):
                raise SystemExit(_diverged(done, numbers))
            if gan and adversarial >= 0:
                numbers["gan/ratio"] = balance.check(done)
            if monitor:
                monitor.scalars(done, numbers)
                monitor.report(done, numbers["loss/pixel"])
        if monitor and (last or done % config.val.val_freq == 0):
            validate(config, averaged, scale, monitor, done)
        if monitor and saves:
            state = {name: holder.state_dict() for name, holder in holders.items()}
            if not is_finite(state):
                raise SystemExit(_diverged(done, numbers))
            monitor.flush()
            save_generator(collapsed(averaged), folder / f"{config.name}.safetensors", variant=variant, note=note)
            save_state(state_file, state | {"iteration": done, "ratio": balance.ratio})
        if monitor:
            monitor.advance()
    if monitor:
        monitor.close()
    if fabric.world_size > 1:
        # A process that ends while torch's threads still talk to the others is aborted.
        fabric.barrier()
        torch.distributed.destroy_process_group()


def validate(config: Config, averaged: nn.Module, scale: int, monitor: Monitor, done: int) -> None:
    """Measure the averaged weights on each folder of `datasets.val` and show a sample."""
    val = config.datasets.val
    enlarge = enlarger(averaged, scale)
    for folder in folders(val.dataroot_gt) if val else []:
        assert val
        pairs = load_pairs(folder, scale, val.degradation)
        quality = mean_quality(enlarge, pairs, scale)
        log.info("iteration %d: %s %.3f dB, SSIM %.4f", done, folder.name, quality.psnr, quality.ssim)
        monitor.scalars(done, {f"val/{folder.name}/psnr": quality.psnr, f"val/{folder.name}/ssim": quality.ssim})
        monitor.picture(done, f"val/{folder.name}", enlarge(pairs[0].low))


def _resumed(config: Config, state_file: Path) -> Mapping[str, Any] | None:
    """Return the state to go on from, or None to begin anew."""
    chosen = config.path.resume_state
    if chosen == "auto":
        return load_state(state_file) if state_file.exists() else None
    if chosen is None and state_file.exists():
        raise InvalidInput(
            f"{state_file} is there from an earlier run; go on from it with --set path.resume_state=auto, "
            "or choose another name."
        )
    return load_state(Path(chosen)) if chosen else None


def _mean(fabric: Fabric, value: torch.Tensor) -> float:
    """Return the mean of a number over all processes."""
    mean = fabric.all_reduce(value.detach(), reduce_op="mean")
    assert isinstance(mean, torch.Tensor)
    return mean.item()


def _diverged(done: int, numbers: Mapping[str, float]) -> str:
    values = ", ".join(f"{name} {value:g}" for name, value in numbers.items())
    return f"train: iteration {done} is not finite ({values}); the last good checkpoint is kept. Lower the rate."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="YAML file; configs/ has one for each variant")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="values to use instead of the file's")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        with logging_redirect_tqdm():
            train(read_config(args.config, args.set))
    except (ParagonError, FileNotFoundError) as error:
        sys.exit(f"train: {error}")


if __name__ == "__main__":
    main()
