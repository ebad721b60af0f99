"""The stages that a network is cut into for tiles (`vsparagon.models.stages`), as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vsparagon.geometry.tiling import BLOCK

PICTURE, RESULT = "picture", "result"
MAP, MEAN = "map", "mean"  # each followed by a number
FURTHEST = 48  # largest reach, in source pixels, of a network that is not cut between its blocks


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of a network that looks no further than its reach.

    Attributes:
        inputs: names of its inputs: the picture and maps, 1,C,H,W, and means, 1,C,1,1.
        outputs: names of its outputs: maps, 1,C,H,W; means, as means of blocks, 1,C,H/8,W/8; the result, 1,3,sH,sW.
        reach: how far, in source pixels, an output looks into the inputs.
        has_windows: whether its tiles must lie on the grid of the attention's windows.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    reach: int
    has_windows: bool

    @property
    def means_in(self) -> list[str]:
        """Names of the means that it takes."""
        return [name for name in self.inputs if name.startswith(MEAN)]

    @property
    def maps_in(self) -> list[str]:
        """Names of the maps that it takes, with the picture."""
        return [name for name in self.inputs if not name.startswith(MEAN)]

    @property
    def means_out(self) -> list[str]:
        """Names of the means that it makes."""
        return [name for name in self.outputs if name.startswith(MEAN)]

    @property
    def maps_out(self) -> list[str]:
        """Names of the maps that it makes, without the result."""
        return [name for name in self.outputs if name.startswith(MAP)]

    @property
    def makes_result(self) -> bool:
        """Whether it makes the result."""
        return RESULT in self.outputs


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All stages of a network, in order; the last one makes the result.

    Attributes:
        checkpoint: file of the weights.
        folder: folder of the stages' graphs.
        scale: enlargement s of the result.
        stages: the stages.
        channels: number of channels of every input and output, by name.
        is_long: whether there are so many stages that each should hold its memory only while it runs.
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
        """Return the shapes of a stage's inputs, by name, for a tile of this size in source pixels."""
        stage = self.stages[index]
        sizes = dict.fromkeys(stage.maps_in, (height, width)) | dict.fromkeys(stage.means_in, (1, 1))
        return {name: (1, self.channels[name], *sizes[name]) for name in stage.inputs}

    def output_shapes(self, index: int, height: int, width: int) -> dict[str, tuple[int, int, int, int]]:
        """Return the shapes of a stage's outputs, by name, for a tile of this size in source pixels."""
        stage = self.stages[index]
        sizes = dict.fromkeys(stage.maps_out, (height, width))
        sizes |= dict.fromkeys(stage.means_out, (height // BLOCK, width // BLOCK))
        if stage.makes_result:
            sizes[RESULT] = (height * self.scale, width * self.scale)
        return {name: (1, self.channels[name], *sizes[name]) for name in stage.outputs}

    def is_used_after(self, index: int, name: str) -> bool:
        """Return whether a later stage takes the input of this name."""
        return any(name in stage.inputs for stage in self.stages[index + 1 :])

    @property
    def kept_channels(self) -> int:
        """The most channels of whole-frame maps that are held at once, including the picture."""
        most, held = 0, {PICTURE}
        for index, stage in enumerate(self.stages):
            held |= set(stage.maps_out)
            most = max(most, sum(self.channels[name] for name in held))
            held = {name for name in held if self.is_used_after(index, name)}
        return most

    @property
    def reach(self) -> int:
        """The largest reach of any stage, in source pixels."""
        return max(stage.reach for stage in self.stages)

    @property
    def has_windows(self) -> bool:
        """Whether any stage has windows."""
        return any(stage.has_windows for stage in self.stages)
