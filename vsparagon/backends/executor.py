"""The contract between a device's lanes and what runs the network on them.

A frame graph is the network with the colour conversions around it: `vsparagon.models.frame`. Its inputs are the
source's planes, `plane0` to `plane2`, its outputs the result's, `result0` to `result2`, as many as the format has.
A plane of 8 bit is uint8 of H,W; of 9 to 16 bit uint8 of H,W,2, the lower byte first, because TensorRT has no wider
unsigned type; half and float planes are float16 and float32 of H,W.
"""

from __future__ import annotations

from abc import ABC, abstractmethod


class Executor(ABC):
    """A compiled frame graph bound to one lane's tensors, whose addresses never change."""

    @abstractmethod
    def enqueue(self) -> None:
        """Queue the work on the lane's current stream (`torch.cuda.current_stream()` on CUDA); returns at once.

        It reads the lane's inputs and writes its outputs, in the order of that stream, and waits for nothing.

        Raises:
            BackendFailure: the runtime failed.
        """
