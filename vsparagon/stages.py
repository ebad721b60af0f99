"""The stages that a network is cut into for tiles (`vsparagon.models.stages`), as plain data and as files.

They are exported once from a checkpoint and kept in the cache: one ONNX file for each stage, and a plan.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from vsparagon.cache import graph_key
from vsparagon.errors import BackendUnavailable, InvalidInput
from vsparagon.files import write_atomically
from vsparagon.tiling import BLOCK

PICTURE, RESULT = "picture", "result"
MAP, MEAN = "map", "mean"  # each followed by a number
FURTHEST = 48  # reach of a network that is not cut between its blocks
FEW = 3  # stages that are held ready at once


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A network that looks no further than its reach.

    Attributes:
        inputs: names of what it takes: the picture and maps, 1,C,H,W, and means, 1,C,1,1.
        outputs: of what it makes: maps, means as those of blocks, 1,C,H/8,W/8, and the result, 1,3,sH,sW.
        reach: how far, in pixels, an output looks into its inputs.
        has_windows: whether its tiles must lie on the attention's grid.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    reach: int
    has_windows: bool


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All stages of a network, in order; the last one makes the result.

    Attributes:
        checkpoint: the weights.
        folder: of the stages' graphs.
        scale: enlargement of the result.
        stages: what they are.
        channels: of everything that is named in them.
    """

    checkpoint: Path
    folder: Path
    scale: int
    stages: tuple[Stage, ...]
    channels: dict[str, int]

    def graph(self, index: int) -> Path:
        """Return the ONNX file of a stage."""
        return self.folder / f"{index}.onnx"

    def input_shapes(self, index: int, height: int, width: int) -> dict[str, tuple[int, int, int, int]]:
        """Return the shapes of what a stage takes for a tile."""
        return {
            name: (1, self.channels[name], *((1, 1) if name.startswith(MEAN) else (height, width)))
            for name in self.stages[index].inputs
        }

    def output_shapes(self, index: int, height: int, width: int) -> dict[str, tuple[int, int, int, int]]:
        """Return the shapes of what a stage makes of a tile."""

        def size(name: str) -> tuple[int, int]:
            if name == RESULT:
                return height * self.scale, width * self.scale
            return (height // BLOCK, width // BLOCK) if name.startswith(MEAN) else (height, width)

        return {name: (1, self.channels[name], *size(name)) for name in self.stages[index].outputs}

    def is_used_after(self, index: int, name: str) -> bool:
        """Whether a later stage takes something."""
        return any(name in stage.inputs for stage in self.stages[index + 1 :])

    @property
    def kept_channels(self) -> int:
        """Most channels of whole maps that are held at once, the picture among them."""
        most, held = 0, {PICTURE}
        for index, stage in enumerate(self.stages):
            held |= {name for name in stage.outputs if name.startswith(MAP)}
            most = max(most, sum(self.channels[name] for name in held))
            held = {name for name in held if self.is_used_after(index, name)}
        return most

    @property
    def is_long(self) -> bool:
        """Whether stages are to hold their memory only while they run."""
        return len(self.stages) > FEW

    @property
    def reach(self) -> int:
        """The largest of the stages'."""
        return max(stage.reach for stage in self.stages)

    @property
    def has_windows(self) -> bool:
        """Whether any stage has."""
        return any(stage.has_windows for stage in self.stages)


def plan_stages(checkpoint: Path, cache: Path) -> Plan:
    """Return the plan of a checkpoint; its graphs are exported the first time.

    Raises:
        ModelError: the file cannot be read.
        InvalidInput: the cache cannot be written.
        BackendUnavailable: torch is needed and not installed.
    """
    folder = cache / "graphs" / f"{graph_key(checkpoint)}.stages"
    plan = folder / "plan.json"
    if not plan.is_file():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _export(checkpoint, folder, plan)
        except OSError as error:
            raise InvalidInput(
                f"{folder} cannot be written ({error.strerror}); name another folder with cache=."
            ) from error
    facts = json.loads(plan.read_bytes())
    stages = tuple(
        Stage(**(stage | {side: tuple(stage[side]) for side in ("inputs", "outputs")})) for stage in facts["stages"]
    )
    return Plan(checkpoint=checkpoint, folder=folder, scale=facts["scale"], stages=stages, channels=facts["channels"])


def _export(checkpoint: Path, folder: Path, plan: Path) -> None:
    """Write the graphs, and the plan last: where it is, all is there."""
    try:
        from vsparagon.checkpoint import load_generator
        from vsparagon.export import stage_onnx
        from vsparagon.models.inference import InferenceForm, inference_form
        from vsparagon.models.stages import channels_of, cut
    except ImportError as error:
        raise BackendUnavailable(
            f'cutting {checkpoint.name} into stages for tiles needs {error.name}; pip install "vsparagon[torch]", '
            "or leave tilesize= and memory_mb= out."
        ) from error
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
    write_atomically(plan, json.dumps(facts).encode())
