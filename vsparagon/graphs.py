"""The graphs of a checkpoint, exported once and kept: of its inference form, and of its stages for tiles."""

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
from vsparagon.files import write_atomically
from vsparagon.models.plan import Plan, Stage

log = logging.getLogger(__name__)

PLAN = "plan.json"  # the file of a plan, in the folder of its graphs
FEW = 3  # stages that are held ready at once
# Modules and packages that make a graph of a checkpoint.
EXPORTERS = ("checkpoint", "export", "graphs", "models", "onnx", "recognise")


def inference_graph(checkpoint: Path, cache_folder: Path) -> Path:
    """Return the ONNX file of a checkpoint's inference form, exported once and kept.

    Raises:
        ModelError: the file cannot be read, or holds no generator.
        InvalidInput: the cache cannot be written.
        BackendUnavailable: torch is needed and not installed.
    """
    graph = cache_folder / "graphs" / f"{_key(checkpoint)}.onnx"
    if not graph.is_file():
        with _exporting(graph, f"reading the checkpoint {checkpoint.name}", "give an ONNX file"):
            from vsparagon.checkpoint import load_generator
            from vsparagon.export import onnx_model
            from vsparagon.models.inference import inference_form

            model = onnx_model(inference_form(load_generator(checkpoint)))
            graph.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(graph, model.SerializeToString(deterministic=True))
    return graph


def plan_stages(checkpoint: Path, cache_folder: Path) -> Plan:
    """Return the plan of a checkpoint; its graphs are exported the first time.

    Raises:
        ModelError: the file cannot be read.
        InvalidInput: the cache cannot be written.
        BackendUnavailable: torch is needed and not installed.
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
    """Return the plan in a folder, None where there is none, or none that can be read: as if there were none."""
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
    except (OSError, ValueError, TypeError, KeyError) as error:
        log.warning("the cached stages of %s are damaged (%s); exporting them again", checkpoint.name, error)
        return None
    return plan if all(plan.graph(index).is_file() for index in range(len(stages))) else None


@contextmanager
def _exporting(path: Path, purpose: str, otherwise: str) -> Iterator[None]:
    """Say what an export fails by: a package that is missing, and how to do without it, or a cache it cannot write."""
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
    """Write the graphs, and the plan last: where it is, all is there."""
    from vsparagon.checkpoint import load_generator
    from vsparagon.export import stage_onnx
    from vsparagon.models.inference import InferenceForm, inference_form
    from vsparagon.models.stages import channels_of, cut

    folder.mkdir(parents=True, exist_ok=True)
    form = inference_form(load_generator(checkpoint))
    assert isinstance(form, InferenceForm)
    stages = cut(form)
    channels = channels_of(stages)
    for index, part in enumerate(stages):
        write_atomically(folder / f"{index}.onnx", stage_onnx(part, channels).SerializeToString(deterministic=True))
    facts = {
        "scale": form.options.scale,
        "stages": [asdict(part.stage) for part in stages],
        "channels": channels,
    }
    write_atomically(folder / PLAN, json.dumps(facts).encode())


def _key(checkpoint: Path) -> str:
    """Return the name under which what is exported from a checkpoint is kept: its bytes and the code that exports.

    Raises:
        ModelError: the file cannot be read.
    """
    try:
        return hashlib.sha256(_exporter() + checkpoint.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(f"cannot read the model {checkpoint}: {error.strerror}.") from error


@cache
def _exporter() -> bytes:
    """Return a digest of the modules that make a graph of a checkpoint."""
    package = Path(__file__).parent
    modules = [path for name in EXPORTERS for path in (package / f"{name}.py", *sorted((package / name).glob("*.py")))]
    return hashlib.sha256(b"".join(module.read_bytes() for module in modules if module.is_file())).digest()
