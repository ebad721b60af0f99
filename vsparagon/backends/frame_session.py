"""A frame graph that runs on the lanes of a device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vsparagon.backends.base import FrameBackend
from vsparagon.colours.layout import AnyPlane
from vsparagon.device.executor import Executor
from vsparagon.device.failures import device_errors
from vsparagon.device.lanes import QUEUING, Lane, Lanes


class FrameSession:
    """A frame graph opened on every lane. `enlarge` is thread-safe.

    Args:
        backend: opens the graph.
        graph: what its `prepare` returned.
        lanes: their planes have the graph's shapes and dtypes.

    Raises:
        OutOfDeviceMemory: the device has not enough memory.
        BackendFailure: the runtime refused the graph.
    """

    def __init__(self, backend: FrameBackend, graph: Any, lanes: Lanes) -> None:
        self._place, self._lanes = backend.place, lanes
        self._executors: dict[Lane, Executor] = {}
        with QUEUING, device_errors(backend.place):
            for lane in lanes.every:
                with lane.current():
                    self._executors[lane] = backend.open_executor(graph, lane.inputs, lane.outputs)
                lane.finish()

    def enlarge(self, source: Sequence[AnyPlane], target: Sequence[AnyPlane]) -> None:
        """Write the enlarged frame.

        Args:
            source: the frame's planes, H,W each, in the sample type of its format.
            target: the result's planes, likewise; written.

        Raises:
            BackendFailure: the runtime or the device failed.
        """
        with device_errors(self._place), self._lanes.staging() as staging:
            staging.load(source)
            with QUEUING:
                lane = self._lanes.next()
                staging.queue(lane, self._executors[lane])
            staging.unload(target)
