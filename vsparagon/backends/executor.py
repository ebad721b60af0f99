"""The contract between a device's lanes and what runs the network on them.

A frame graph is the network with the colour conversions around it: `vsparagon.models.frame`. Its inputs are the
source's planes, `plane0` to `plane2`, its outputs the result's, `result0` to `result2`, as many as the format has.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch

INPUTS = ("plane0", "plane1", "plane2")
OUTPUTS = ("result0", "result1", "result2")


class Executor(ABC):
    """A compiled frame graph bound to one lane's tensors, whose addresses never change."""

    @abstractmethod
    def enqueue(self) -> None:
        """Queue the work on the lane's current stream (`torch.cuda.current_stream()` on CUDA); returns at once.

        It reads the lane's inputs and writes its outputs, in the order of that stream, and waits for nothing.

        Raises:
            BackendFailure: the runtime failed.
        """


class OpenExecutor[FrameGraph](Protocol):
    """Makes an executor for one lane. Called once for each lane, with that lane's stream current."""

    def __call__(
        self, graph: FrameGraph, inputs: dict[str, torch.Tensor], outputs: dict[str, torch.Tensor]
    ) -> Executor:
        """Return the graph bound to these tensors, on the device where they lie.

        Args:
            graph: what this backend makes of a frame graph: a module, an engine, an ONNX model.
            inputs: by name. A plane of 8 bit is uint8 of H,W; of 9 to 16 bit uint8 of H,W,2 (little-endian pairs);
                half and float planes are float16 and float32 of H,W.
            outputs: by name, likewise.

        Raises:
            BackendFailure: the runtime refused it.
        """
