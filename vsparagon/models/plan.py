"""The stages that a network is cut into for tiles (`vsparagon.models.stages`), as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vsparagon.tiles.geometry import BLOCK

PICTURE, RESULT = "picture", "result"
MAP, MEAN = "map", "mean"  # each followed by a number
FURTHEST = 48  # reach of a network that is not cut between its blocks


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
        is_long: whether stages are to hold their memory only while they run.
    """

    checkpoint: Path
    folder: Path
    scale: int
    stages: tuple[Stage, ...]
    channels: dict[str, int]
    is_long: bool

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
    def reach(self) -> int:
        """The largest of the stages'."""
        return max(stage.reach for stage in self.stages)

    @property
    def has_windows(self) -> bool:
        """Whether any stage has."""
        return any(stage.has_windows for stage in self.stages)
