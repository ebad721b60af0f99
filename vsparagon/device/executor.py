"""The contract between a device's lanes and what runs the network on them.

A frame graph is the network with the colour conversions around it (`vsparagon.models.frame`). Its inputs are the
source's planes, `plane0` to `plane2`, and its outputs the result's, `result0` to `result2`; gray has the first of each
only. An 8-bit plane is uint8 H,W. A 9- to 16-bit plane is uint8 H,W,2, low byte first, because TensorRT has no wider
unsigned type. Half and float planes are float16 and float32, H,W.
"""

from __future__ import annotations

from abc import ABC, abstractmethod


class Executor(ABC):
    """A compiled frame graph bound to one lane's tensors, whose addresses never change."""

    @abstractmethod
    def enqueue(self) -> None:
        """Queue the work on the device's current stream (`torch.cuda.current_stream()`) and return at once.

        The work reads the lane's inputs and writes its outputs, in stream order. On the CPU it is done on return.

        Raises:
            BackendFailure: the runtime failed.
        """
