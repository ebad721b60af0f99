"""Train a ParagonSR2 or Swift generator, for fidelity alone or against a discriminator.

    python scripts/train.py --config configs/nano_x2_clean.yml
    python scripts/train.py --config configs/nano_x2_clean.yml --set train.total_iter=1000 path.resume_state=auto
    torchrun --nproc-per-node 4 scripts/train.py --config configs/s_x2_clean.yml

The run's folder, runs/NAME, receives NAME.safetensors (averaged weights, which the filter loads), last.state (to
resume from), config.yml (all settings) and TensorBoard's files. A run that was stopped resumes from its last checkpoint
with `path.resume_state=auto`; on the CPU, the result is exactly that of an uninterrupted run. Ctrl-C, SIGTERM or a
closed terminal makes a run of one process save a checkpoint and end.
"""

from __future__ import annotations

import argparse
import errno
import logging
import math
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

# Pictures are reduced by products of small matrices. With a thread for each core, which wait for each other in a loop,
# NumPy takes many times the processor time for them, and the network has to wait. Read when NumPy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import torch
from filelock import FileLock, Timeout
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from tqdm.contrib.logging import logging_redirect_tqdm

from vsparagon.errors import InvalidInput, ParagonError, first_line_of, reason_of
from vsparagon.models.checkpoint import save_generator
from vsparagon.models.swift import Swift
from vsparagon.system.files import distinct_names, expanded
from vsparagon.system.interrupt import INTERRUPTED, Interrupt
from vsparagon.system.locks import take
from vsparagon.training.config import Config, read_config, write_config
from vsparagon.training.data import CropPairs, load_batches
from vsparagon.training.degradation import Pair
from vsparagon.training.monitor import Monitor
from vsparagon.training.pairs import folder_pairs
from vsparagon.training.precision import precision_named
from vsparagon.training.state import is_finite, load_state, save_state
from vsparagon.training.trainee import Trainee
from vsparagon.training.validation import enlarger, load_pairs, mean_quality

log = logging.getLogger("train")

Batch = tuple[torch.Tensor, torch.Tensor]

STATE: Final = "last.state"
LOCK: Final = "run.lock"
MEMORY: Final = "lower datasets.train.batch_size_per_gpu, lq_size or memory_mb, or validate on smaller pictures."
SHARED: Final = "give Docker --shm-size=1g, or set datasets.train.num_worker_per_gpu=0."
WORKERS: Final = "perhaps for lack of memory; lower datasets.train.memory_mb or num_worker_per_gpu."


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run in progress.

    Attributes:
        config: its configuration.
        folder: where its files are written.
        lock: held, so that no other run writes there.
        trainee: what it trains.
        crops: what the weights are trained on, for people; saved with them.
        validation: pairs to measure on, by the name of their folder.
        monitor: shows its progress.
    """

    config: Config
    folder: Path
    lock: FileLock
    trainee: Trainee
    crops: str
    validation: Mapping[str, list[Pair]]
    monitor: Monitor

    def save(self, done: int) -> None:
        """Write the weights and the state to resume from, after `done` iterations.

        Raises:
            SystemExit: a weight is not finite, or a range for int8 is empty; nothing is written then.
            ParagonError: a file cannot be written.
        """
        config, state = self.config, self.trainee.state(done)
        weights = self.trainee.weights()
        if not is_finite(state):
            raise SystemExit(
                f"train: the weights of iteration {done} are not finite; {_kept(self.folder)}. Lower the rate."
            )
        if isinstance(weights, Swift) and not all(low <= 0 < high for low, high in weights.ranges):
            raise SystemExit(
                f"train: an int8 range of iteration {done} is empty; {_kept(self.folder)}. Lower the rate."
            )
        variant, _ = config.generator()
        total = config.train.total_iter
        iterations = f"{total} iterations" if done == total else f"{done} of {total} iterations"
        note = f"{iterations} of {self.crops}; {config.name}"
        names = [config.name, f"{config.name}_{done}"] if config.logger.keep_weights else [config.name]
        try:
            self.monitor.flush()
            for name in names:
                path = self.folder / f"{name}.safetensors"
                save_generator(weights, path, variant=variant, note=note, licence=config.licence)
            save_state(self.folder / STATE, state)
        except OSError as error:
            raise ParagonError(
                f"iteration {done} cannot be saved in {self.folder} ({error.strerror or error}); {_kept(self.folder)}."
            ) from error

    def validate(self, done: int) -> None:
        """Measure the averaged weights on each folder of `datasets.val`, and show a sample picture."""
        _, options = self.config.generator()
        enlarge = enlarger(self.trainee.averaged, options.scale)
        for name, pairs in self.validation.items():
            quality = mean_quality(enlarge, pairs, options.scale)
            log.info("iteration %d: %s %.3f dB, SSIM %.4f", done, name, quality.psnr, quality.ssim)
            self.monitor.scalars(done, {f"val/{name}/psnr": quality.psnr, f"val/{name}/ssim": quality.ssim})
            self.monitor.picture(done, f"val/{name}", enlarge(pairs[0].low))

    def close(self) -> None:
        """End the display of the progress, and let other runs use the folder."""
        self.monitor.close()
        self.lock.release()


def train(config: Config) -> bool:
    """Train from the beginning or from a checkpoint, and return whether the run was finished, not interrupted.

    Raises:
        ParagonError: the configuration, a checkpoint or the data cannot be used.
        OSError: a folder is missing or not writable.
        SystemExit: a loss or a weight is not finite, or a range for int8 is empty.
    """
    data, total, logger = config.datasets.train, config.train.total_iter, config.logger
    _, options = config.generator()
    folder = expanded(config.path.experiments_root) / config.name
    resumed = _resumed(config, folder / STATE)
    torch.manual_seed(config.manual_seed)
    if config.threads:
        torch.set_num_threads(config.threads)
    fabric = Fabric(
        devices=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
        num_nodes=int(os.environ.get("GROUP_WORLD_SIZE", "1")),
        # Not SLURM's environment, which Fabric would choose there: torchrun starts all processes.
        plugins=[
            precision_named(config.precision),
            TorchElasticEnvironment() if TorchElasticEnvironment.detect() else LightningEnvironment(),
        ],
    )
    fabric.launch()
    trainee = Trainee(config, fabric, pretrained=not resumed)
    begin = trainee.load(resumed) if resumed else 0
    if resumed:
        log.info("resuming after iteration %d", begin)
    if begin >= total:
        raise InvalidInput(f"{begin} iterations are done already; set train.total_iter above that to continue.")

    validation = _validation(config, options.scale) if fabric.is_global_zero else {}
    crops = CropPairs(data, scale=options.scale, seed=config.manual_seed)
    batches = fabric.setup_dataloaders(
        load_batches(crops, data, begin=begin, end=total, rank=fabric.global_rank, processes=fabric.world_size),
        use_distributed_sampler=False,
    )
    log.info("%s: %d parameters, %d pictures", config.name, options.parameters, crops.pictures)
    run = None
    if fabric.is_global_zero:
        folder.mkdir(parents=True, exist_ok=True)
        lock = _locked(folder)
        write_config(config, folder / "config.yml")
        run = Run(
            config=config,
            folder=folder,
            lock=lock,
            trainee=trainee,
            crops=f"{data.batch_size_per_gpu * fabric.world_size} crops of {data.lq_size}x{data.lq_size} from "
            f"{crops.pictures} pictures",
            validation=validation,
            monitor=Monitor(folder / "tensorboard", begin=begin, total=total),
        )

    # With several processes, Ctrl-C could end them at different iterations, and they would wait for each other forever.
    note = "ending after this iteration; once more to end at once"
    with (
        closing(run) if run else nullcontext(),
        Interrupt(waits=fabric.world_size == 1, note=note) as interrupt,
    ):
        for iteration, (low, high) in zip(range(begin, total), _saving(batches, run, begin), strict=True):
            measured = trainee.step(low, high, iteration)

            # The rest happens only in some iterations, because it takes time.
            done = iteration + 1
            ends = done == total or interrupt.asked
            saves = ends or done % logger.save_checkpoint_freq == 0
            if done % logger.print_freq == 0 or saves:
                numbers = {name: _mean(fabric, value) for name, value in measured.items()}
                if not all(map(math.isfinite, numbers.values())):
                    raise SystemExit(
                        f"train: iteration {done} is not finite ({_listed(numbers)}); {_kept(folder)}. Lower the rate."
                    )
                numbers |= trainee.balance(done)
                if run:
                    run.monitor.scalars(done, numbers)
                    run.monitor.report(done, numbers)
            if run and saves:
                run.save(done)
            if run and (done == total or (done % config.val.val_freq == 0 and not ends)):
                run.validate(done)
            if run:
                run.monitor.advance()
            if ends:
                break
    if fabric.world_size > 1:
        # A process that ends while torch's threads still talk to the others is aborted, so wait for all of them. Keep
        # a reference to `together`: otherwise torch's thread may wait for Python to drop it while Python waits for
        # that thread to end (torch 2.7).
        together = torch.distributed.barrier(async_op=True)
        together.wait()
        torch.distributed.destroy_process_group()
    return done == total


def _saving(batches: Iterable[Any], run: Run | None, begin: int) -> Iterator[Batch]:
    """Yield the batches after iteration `begin`; if the next one cannot be made, the run is saved before the error."""
    done = begin
    try:
        for batch in batches:
            yield batch
            done += 1
    except Exception:
        if run and done > begin:
            run.save(done)
        raise


def _validation(config: Config, scale: int) -> dict[str, list[Pair]]:
    """Read the folders to measure on. This comes before training, so that a wrong folder is reported at once."""
    val = config.datasets.val
    if val is None:
        return {}
    pairs = folder_pairs(val.dataroot_gt, val.dataroot_lq)
    names = distinct_names(high for high, _ in pairs)
    return {names[high]: load_pairs(high, scale, val.degradation, low=low) for high, low in pairs}


def _resumed(config: Config, state_file: Path) -> Mapping[str, Any] | None:
    """Return the state to resume from, or None to start from the beginning.

    Raises:
        InvalidInput: the run has a state, but the configuration does not say to resume from it.
        ModelError: the state cannot be read.
    """
    chosen = config.path.resume_state
    if chosen == "auto":
        if state_file.exists():
            return load_state(state_file)
        log.info("there is no checkpoint yet: starting from the beginning")
        return None
    file = expanded(chosen) if chosen else None
    if state_file.exists() and (file is None or file.resolve() != state_file.resolve()):
        raise InvalidInput(
            f"{state_file} exists from an earlier run; resume it with --set path.resume_state=auto, "
            "or choose another name."
        )
    return load_state(file) if file else None


def _locked(folder: Path) -> FileLock:
    """Lock a run's folder, if it can be locked.

    Raises:
        InvalidInput: another run has locked it.
    """
    lock = FileLock(folder / LOCK)
    try:
        take(lock, otherwise="start no other run there")
    except Timeout:
        raise InvalidInput(f"another run is writing to {folder}; wait until it ends, or choose another name.") from None
    return lock


def _mean(fabric: Fabric, value: torch.Tensor) -> float:
    """Return the mean of a scalar over all processes."""
    mean = fabric.all_reduce(value.detach(), reduce_op="mean")
    assert isinstance(mean, torch.Tensor)
    return mean.item()


def _listed(numbers: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in numbers.items())


def _kept(folder: Path) -> str:
    return "the last good checkpoint is kept" if (folder / STATE).exists() else "there is no checkpoint yet"


def _explained(error: Exception) -> str | None:
    """Return an error's message in one line, or None if nobody but a programmer can do anything about it."""
    if isinstance(error, ConnectionError):  # a process that loads data was killed while it passed a batch on
        return f"a process that prepares crops was ended ({error}), {WORKERS}"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{error.strerror}; free some space, and go on with --set path.resume_state=auto."
    # torch puts the traceback in the process that loads data before the message, and the type of the error.
    from_worker = reason_of(error).partition(": ")[2] if "in DataLoader worker process" in str(error) else ""
    if isinstance(error, ParagonError | OSError):
        return from_worker or reason_of(error)
    reason = (from_worker or first_line_of(error)).rstrip(" .")
    if "shared memory" in reason and os.strerror(errno.ENOSPC) in reason:
        return f"no room in /dev/shm for crops ({reason}); {SHARED}"
    if "DataLoader worker (pid" in reason:
        return f"a process that prepares crops was ended ({reason}), {WORKERS}"
    if isinstance(error, MemoryError) or re.search("out of memory|allocate|not enough memory", reason):
        return f"out of memory ({reason}); {MEMORY}"
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="YAML file; configs/ has one for each variant")
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="values to use instead of the file's: vsparagon/training/config.py describes the keys",
    )
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    finished, failure = False, None
    try:
        with logging_redirect_tqdm():
            finished = train(read_config(args.config, args.set))
    except KeyboardInterrupt:
        pass
    except Exception as error:
        message = _explained(error)
        failure = f"train: {message}" if message else traceback.format_exc()
        traceback.clear_frames(error.__traceback__)  # that ends the loader, for whose processes Python would wait
    if failure:
        sys.exit(failure)
    if not finished:
        print("train: stopped; --set path.resume_state=auto resumes from the last checkpoint", file=sys.stderr)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
