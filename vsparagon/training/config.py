"""Read the configuration of `scripts/train.py` from YAML into a validated, immutable object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from vsparagon.errors import InvalidInput
from vsparagon.models.variants import AnyOptions, SwiftOptions, variant_options
from vsparagon.system.files import replacing
from vsparagon.training.data import MOST, Positive, TrainingData
from vsparagon.training.degradation import Degradation
from vsparagon.training.gan import GanOptions
from vsparagon.training.losses import AnyLoss, CharbonnierLoss
from vsparagon.training.optimisation import CosineAnnealing, MultiStep, Optimiser
from vsparagon.training.pairs import Folders
from vsparagon.training.precision import PrecisionName
from vsparagon.training.schema import LARGEST, choices, unknown_keys, vast_numbers

Count = Annotated[int, Meta(ge=0, le=MOST)]
Seed = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Discriminator(_Section, frozen=True, kw_only=True):
    """`network_d`: the options of `vsparagon.models.munet.MUNet`, which judges RGB pictures."""

    type: Literal["munet"]
    num_in_ch: Literal[3] = 3
    num_feat: Positive = 64
    ch_mult: tuple[Positive, ...] = (1, 2, 4, 8)


class ValidationData(_Section, frozen=True, kw_only=True):
    """`datasets.val`: folders on which mean luma PSNR and SSIM are measured, separately for each folder.

    Attributes:
        dataroot_gt: folder or folders of high-resolution pictures.
        dataroot_lq: folders of their low-resolution versions, as in `datasets.train`.
        degradation: how low resolution is made without `dataroot_lq`; its random choices are the same every time.
    """

    dataroot_gt: Folders
    dataroot_lq: Folders | None = None
    degradation: Degradation = Degradation()


class Datasets(_Section, frozen=True, kw_only=True):
    """`datasets`: what to train on, and what to measure on."""

    train: TrainingData
    val: ValidationData | None = None


class Training(_Section, frozen=True, kw_only=True):
    """`train`.

    Attributes:
        total_iter: iterations of the whole run.
        warmup_iter: iterations in which the learning rates rise linearly.
        optim_g, optim_d: optimisers of generator and discriminator.
        scheduler: of both learning rates after the warm-up.
        losses: of the generator; their weighted sum is minimised.
        loss_border: pixels (low resolution) at each side of a crop that are left out of the loss. The network pads
            with zeros there, which never shows in the filter because it extends frames.
        gan_opt: adversarial loss; needs a `network_d`.
        gan_start_iter: iteration at which the adversarial loss starts.
        branch_channels: width of the extra branches of 3x3 convolutions (`vsparagon.training.reparameterisation`);
            0 for none.
        int8: whether to use quantisation-aware training for `precision="int8"` (`vsparagon.training.quantisation`);
            only for swift, swift_lite and swift_plus, and best from trained weights.
        ema_decay: decay of the moving average of the weights, which is what is measured and saved.
        grad_clip: whether to limit the norm of the generator's gradient to 1.
    """

    total_iter: Positive
    warmup_iter: Count = 500
    optim_g: Optimiser = Optimiser()
    optim_d: Optimiser = Optimiser(lr=3e-5)
    scheduler: CosineAnnealing | MultiStep = CosineAnnealing()
    losses: Annotated[tuple[AnyLoss, ...], Meta(min_length=1)] = (CharbonnierLoss(),)
    loss_border: Count = 4
    gan_opt: GanOptions | None = None
    gan_start_iter: Count = 0
    branch_channels: Count = 0
    int8: bool = False
    ema_decay: Annotated[float, Meta(ge=0, lt=1)] = 0.999
    grad_clip: bool = True


class Validation(_Section, frozen=True, kw_only=True):
    """`val`.

    Attributes:
        val_freq: iterations between two measurements, each with a sample picture.
    """

    val_freq: Positive = 1000


class Logger(_Section, frozen=True, kw_only=True):
    """`logger`.

    Attributes:
        print_freq: iterations between two lines in the log.
        save_checkpoint_freq: iterations between two checkpoints.
        keep_weights: whether to keep the weights of every checkpoint too, as NAME_ITERATIONS.safetensors.
    """

    print_freq: Positive = 100
    save_checkpoint_freq: Positive = 1000
    keep_weights: bool = False


class Paths(_Section, frozen=True, kw_only=True):
    """`path`. All paths may begin with "~".

    Attributes:
        experiments_root: folder in which the run gets a folder of its own, called by its name.
        pretrain_network_g: checkpoint of a generator to start from; weights of the same name and shape are used.
        resume_state: state file to resume from; "auto" resumes from the run's own if there is one.
    """

    experiments_root: str = "runs"
    pretrain_network_g: str | None = None
    resume_state: str | None = None


class Config(_Section, frozen=True, kw_only=True):
    """A configuration.

    Attributes:
        name: of the run; its folder and its weights are called so.
        network_g: `type`, the name of a variant, with or without the prefix `paragonsr2_`, and fields of its options
            in `vsparagon.models.variants`; see `generator`.
        datasets, train, val, logger, path: the sections of these names.
        network_d: the discriminator; without one, the generator is trained for fidelity alone.
        manual_seed: for initial weights and data.
        precision: of the generator's forward passes: float32, or mixed with bfloat16. On a GPU, torch's default lets
            convolutions in float32 use TF32.
        threads: torch's CPU threads; 0 for torch's default, as many as there are cores. They wait for each other in
            loops, so fewer are faster on a processor that other programs use, too.
        licence: of the weights; it is written into their file.
    """

    name: Annotated[str, Meta(pattern=r"^[\w-][\w.-]{0,99}\Z")]
    network_g: dict[str, bool | int | float | str]
    datasets: Datasets
    train: Training
    network_d: Discriminator | None = None
    val: Validation = Validation()
    logger: Logger = Logger()
    path: Paths = Paths()
    manual_seed: Seed = 0
    precision: PrecisionName = "32-true"
    threads: Annotated[int, Meta(ge=0, le=1024)] = 0
    licence: str | None = None

    def generator(self) -> tuple[str, AnyOptions]:
        """Return the variant and the options of the generator.

        Raises:
            InvalidInput: `network_g` has an unknown key or a value of the wrong type or out of range.
        """
        given = dict(self.network_g)
        variant = str(given.pop("type", "")).removeprefix("paragonsr2_")
        try:
            options = variant_options(variant, **given)
            return variant, msgspec.convert(asdict(options), type(options))
        except (InvalidInput, TypeError, OverflowError, msgspec.ValidationError) as error:
            raise InvalidInput(f"network_g: {error}") from None


def read_config(path: Path, changes: Sequence[str] = ()) -> Config:
    """Read and validate a configuration.

    Args:
        path: of a YAML 1.2 file (in which 3e-5 is a number), in UTF-8.
        changes: values to set, as "key.key=value" with the value in YAML.

    Raises:
        InvalidInput: the file cannot be read or is not YAML, or a key is unknown or has a wrong type or value; the
            message names the key.
    """
    try:
        tree = _parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(f"cannot read the configuration {path}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InvalidInput(f"the configuration {path} is not in UTF-8; save it as UTF-8.") from None
    except (YAMLError, ValueError) as error:  # ValueError for dates that do not exist
        raise InvalidInput(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise InvalidInput(f"{path} holds {type(tree).__name__} instead of keys and values.")
    for change in changes:
        _set(tree, change)
    if unknown := unknown_keys(tree, Config):
        listed = f"keys {', '.join(unknown)}; leave them out or correct them" if unknown[1:] else f"key {unknown[0]}"
        raise InvalidInput(f"{path}: unknown {listed} (vsparagon/training/config.py describes all keys).")
    if vast := vast_numbers(tree):
        raise InvalidInput(f"{path}: {', '.join(vast)}; give numbers of at most {LARGEST:g}.")
    try:
        config = msgspec.convert(tree, Config)
        _check(config)
    except (msgspec.ValidationError, InvalidInput) as error:
        accepted = ", ".join(choices(str(error), Config))
        raise InvalidInput(
            f"{path}: {error}".replace("`$.", "`") + (f"; choose one of {accepted}." if accepted else "")
        ) from None
    return config


def write_config(config: Config, path: Path) -> None:
    """Write all settings, including defaults, as YAML that `read_config` reads.

    Raises:
        OSError: the file cannot be written.
    """
    with replacing(path) as draft, draft.open("w", encoding="utf-8") as file:
        YAML().dump(msgspec.to_builtins(config), file)


def _parse(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def _set(tree: dict[str, Any], change: str) -> None:
    place, equals, value = change.partition("=")
    *sections, key = place.split(".")
    if not equals:
        raise InvalidInput(f"{change!r} sets nothing; write key.key=value.")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise InvalidInput(f"{change!r}: {section} is a value, not a section.")
    try:
        tree[key] = _parse(value)
    except (YAMLError, ValueError) as error:
        raise InvalidInput(f"{change!r}: the value is not YAML: {' '.join(str(error).split())}") from None


def _check(config: Config) -> None:
    _, options = config.generator()
    train, data = config.train, config.datasets.train
    if (config.network_d is None) != (train.gan_opt is None):
        raise InvalidInput("network_d and train.gan_opt belong together; give both or neither.")
    for name, part in (("train", data), ("val", config.datasets.val)):
        if part and part.dataroot_lq is not None and part.degradation != Degradation():
            raise InvalidInput(
                f"datasets.{name} has dataroot_lq, pictures of low resolution, and a degradation that would make them; "
                "give one of the two."
            )
    if train.int8 and not isinstance(options, SwiftOptions):
        raise InvalidInput("train.int8 is for swift, swift_lite and swift_plus; leave it out.")
    if train.gan_opt is not None and train.gan_start_iter >= train.total_iter:
        raise InvalidInput(
            f"train.gan_start_iter is {train.gan_start_iter} and train.total_iter {train.total_iter}, so the "
            "discriminator would never be used; start it earlier."
        )
    if 2 * train.loss_border >= data.lq_size:
        raise InvalidInput(f"train.loss_border is {train.loss_border}; it leaves no pixels of lq_size {data.lq_size}.")
    if config.network_d is not None:
        side = (data.lq_size - 2 * train.loss_border) * options.scale >> len(config.network_d.ch_mult)
        if side < 1:
            raise InvalidInput(
                f"datasets.train.lq_size is {data.lq_size}; the discriminator's {len(config.network_d.ch_mult)} "
                f"halvings leave nothing of a crop without its loss_border."
            )
