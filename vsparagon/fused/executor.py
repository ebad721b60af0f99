"""The kernels of a frame graph, bound to the tensors of one lane."""

from __future__ import annotations

from torch import Tensor

from vsparagon.device.executor import Executor
from vsparagon.fused.canvas import Canvas, Room
from vsparagon.fused.colours import Reading, Writing
from vsparagon.fused.features import Features, border_of
from vsparagon.models.frame import FrameNetwork
from vsparagon.models.half import HalfForm


class FusedExecutor(Executor):
    """Launches the kernels one after the other.

    Args:
        frame: one to which `vsparagon.fused.support.trouble_with_kernels` does not object.
        inputs, outputs: tensors of the lane, by name.
        room: pool shared with the other executors of the lane; None for one of its own.
    """

    def __init__(
        self,
        frame: FrameNetwork,
        inputs: dict[str, Tensor],
        outputs: dict[str, Tensor],
        room: Room | None = None,
    ) -> None:
        assert isinstance(frame.network, HalfForm)
        device = next(iter(inputs.values())).device
        extension = frame.extension
        canvas = Canvas(
            height=extension.extended_height,
            width=extension.extended_width,
            border=border_of(frame.network),
            device=device,
            room=room or Room(),
        )
        canvas.room.begin()
        reading = Reading(frame, canvas, list(inputs.values()))
        features = Features(frame.network, canvas, reading.features)
        writing = Writing(frame, canvas, reading.picture, features.phases, list(outputs.values()))
        self._launches = [*reading.launches, *features.launches, *writing.launches]

    def enqueue(self) -> None:
        for launch in self._launches:
            launch()
