"""The ONNX graphs of a checkpoint, exported once and cached: of its inference form, and of its stages for tiles.

Each is kept with a digest of its bytes, and is exported again if they have changed.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from pathlib import Path

from vsparagon.errors import BackendUnavailable, InvalidInput, ModelError
from vsparagon.models.plan import Plan, Stage
from vsparagon.system.files import write_atomically

log = logging.getLogger(__name__)

PLAN = "plan.json"  # file name of a plan, in the folder of its graphs
FEW = 3  # largest number of stages that all stay loaded
EXPORTERS = ("models", "onnx")  # packages that take part in the export; a change to them invalidates the cached graphs


def inference_graph(checkpoint: Path, cache_folder: Path) -> Path:
    """Return the ONNX file of a checkpoint's inference form, exported on the first call and cached.

    Args:
        checkpoint: file of weights.
        cache_folder: the graph is kept in its folder "graphs", which is created if necessary.

    Raises:
        ModelError: the checkpoint cannot be read, or is not a generator.
        InvalidInput: the cache folder cannot be written to.
        BackendUnavailable: the export needs a package that is not installed, usually torch.
    """
    folder, key = cache_folder / "graphs", _key(checkpoint)
    for path in folder.glob(f"{key}-*.onnx"):
        try:
            data = path.read_bytes()
        except FileNotFoundError:  # another process has cleared the cache
            continue
        if path.stem == f"{key}-{_digest(data)}":
            return path
        log.warning("the cached graph of %s is damaged; exporting it again (%s)", checkpoint.name, path)
        path.unlink(missing_ok=True)
    with _exporting(folder, f"reading the checkpoint {checkpoint.name}", "give an ONNX file"):
        from vsparagon.models.checkpoint import load_generator
        from vsparagon.models.inference import inference_form
        from vsparagon.onnx.export import onnx_model

        data = onnx_model(inference_form(load_generator(checkpoint))).SerializeToString(deterministic=True)
        folder.mkdir(parents=True, exist_ok=True)
        graph = folder / f"{key}-{_digest(data)}.onnx"
        write_atomically(graph, data)
    return graph


def plan_stages(checkpoint: Path, cache_folder: Path) -> Plan:
    """Return the plan of a ParagonSR2 checkpoint; its stages are exported on the first call and cached.

    Arguments and errors are those of `inference_graph`.
    """
    folder = cache_folder / "graphs" / f"{_key(checkpoint)}.stages"
    kept = _kept_plan(checkpoint, folder)
    if kept is None:
        purpose = f"cutting {checkpoint.name} into stages for tiles"
        with _exporting(folder, purpose, "leave tilesize= and memory_mb= out"):
            _export_stages(checkpoint, folder)
        kept = _kept_plan(checkpoint, folder)
        assert kept is not None
    return kept


def _kept_plan(checkpoint: Path, folder: Path) -> Plan | None:
    """Return the plan in a folder; None if it or a graph is missing or damaged, so that it is exported again."""
    path = folder / PLAN
    if not path.is_file():
        return None
    try:
        facts = json.loads(path.read_bytes())
        stages = tuple(
            Stage(**(stage | {side: tuple(stage[side]) for side in ("inputs", "outputs")})) for stage in facts["stages"]
        )
        plan = Plan(
            checkpoint=checkpoint,
            folder=folder,
            scale=facts["scale"],
            stages=stages,
            channels=facts["channels"],
            is_long=len(stages) > FEW,
        )
        for index, digest in enumerate(facts["digests"]):
            if _digest(plan.graph(index).read_bytes()) != digest:
                raise ValueError(f"{plan.graph(index).name} is not what was written")
    except (OSError, ValueError, TypeError, KeyError) as error:
        log.warning("the cached stages of %s are damaged (%s); exporting them again", checkpoint.name, error)
        return None
    return plan


@contextmanager
def _exporting(path: Path, purpose: str, otherwise: str) -> Iterator[None]:
    """Turn a missing package or an unwritable cache during an export into one of vsparagon's errors.

    Args:
        path: file or folder that is written.
        purpose: what the export is for, as the beginning of the message.
        otherwise: what to do instead of installing the package.

    Raises:
        BackendUnavailable: a package is missing.
        InvalidInput: the cache cannot be written.
    """
    try:
        yield
    except ImportError as error:
        needed = f'{purpose} needs {error.name}; pip install "vsparagon[torch]", or {otherwise}.'
        raise BackendUnavailable(needed) from error
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be written ({error.strerror}); choose another folder with cache=."
        ) from error


def _export_stages(checkpoint: Path, folder: Path) -> None:
    """Write the graphs, and the plan last, so that its presence means that all of them are complete."""
    from vsparagon.models.checkpoint import load_generator
    from vsparagon.models.inference import InferenceForm, inference_form
    from vsparagon.models.stages import channels_of, cut
    from vsparagon.onnx.export import stage_onnx

    folder.mkdir(parents=True, exist_ok=True)
    form = inference_form(load_generator(checkpoint))
    assert isinstance(form, InferenceForm)
    stages = cut(form)
    channels = channels_of(stages)
    graphs = [stage_onnx(part, channels).SerializeToString(deterministic=True) for part in stages]
    for index, data in enumerate(graphs):
        write_atomically(folder / f"{index}.onnx", data)
    facts = {
        "scale": form.options.scale,
        "stages": [asdict(part.stage) for part in stages],
        "channels": channels,
        "digests": [_digest(data) for data in graphs],
    }
    write_atomically(folder / PLAN, json.dumps(facts).encode())


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def _key(checkpoint: Path) -> str:
    """Return the name under which a checkpoint's exports are cached: a digest of the file and of the exporting code.

    Raises:
        ModelError: the file cannot be read.
    """
    try:
        return _digest(_exporter() + checkpoint.read_bytes())
    except OSError as error:
        raise ModelError(f"cannot read the model {checkpoint}: {error.strerror}.") from error


@cache
def _exporter() -> bytes:
    """Return a digest of the source of `EXPORTERS`."""
    package = Path(__file__).parents[1]
    modules = (path for name in EXPORTERS for path in sorted((package / name).glob("*.py")))
    return hashlib.sha256(b"".join(module.read_bytes() for module in modules)).digest()
