"""The contract between the pipeline and a runtime.

A backend for pictures opens a model for one input size and gives a `Session`: a fixed set of slots, each with an
input array to fill and an output array to read, so that nothing is allocated or copied per frame that the runtime
does not need. A backend for frames runs on a device, where `vsparagon.backends.device` keeps the memory.
"""

from __future__ import annotations

import queue
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from vsparagon.backends.executor import Executor
from vsparagon.errors import InvalidInput
from vsparagon.layout import Array
from vsparagon.models.model import Model
from vsparagon.models.plan import Plan

if TYPE_CHECKING:
    import torch

    from vsparagon.models.frame import FrameNetwork

LANES: Final = 3  # measured, docs/speed.md; `vsparagon.frame_pipeline` says how many frames they hold

Precision = Literal["fp32", "fp16", "bf16", "int8"]


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """What a compiled network depends on, beside the model.

    Attributes:
        height, width: of the input, in pixels.
        precision: arithmetic of the network.
    """

    height: int
    width: int
    precision: Precision


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a compiled network is run.

    Attributes:
        streams: frames the runtime works on at once.
        threads: CPU threads the runtime may use in all.
        cache: folder for compiled networks.
    """

    streams: int
    threads: int
    cache: Path


class Slot(ABC):
    """Room for one frame.

    Attributes:
        input: 1,channels,H,W, to be written before `run`; float32, or float16 where the network wants it.
        output: 1,channels,scale*H,scale*W, of the same dtype, valid after `run` until the next.
    """

    input: Array
    output: Array

    @abstractmethod
    def run(self) -> None:
        """Compute `output` from `input`; returns when it is there.

        Raises:
            BackendFailure: the runtime failed.
        """

    def write(self, target: Sequence[Array], rows: slice, columns: slice) -> None:
        """Copy a part of the output, given in its pixels, into one array for each channel."""
        for plane, result in zip(target, self.output[0], strict=True):
            plane[:] = result[rows, columns]


class StageSlot(ABC):
    """Room for one tile in a stage of a network.

    Attributes:
        inputs: float32 arrays by name, to be written before `run`; shapes as `Plan.input_shapes` says.
        outputs: float32 arrays by name, valid after `run` until the next.
    """

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]

    @abstractmethod
    def run(self) -> None:
        """Compute the outputs; returns when they are there.

        Raises:
            BackendFailure: the runtime failed.
        """


class Session[AnySlot: (Slot, StageSlot)]:
    """An open model, or a stage of one: its slots are lent to one caller each at a time."""

    def __init__(self, slots: Sequence[AnySlot]) -> None:
        self.slots = len(slots)
        self._free: queue.SimpleQueue[AnySlot] = queue.SimpleQueue()
        for slot in slots:
            self._free.put(slot)

    @contextmanager
    def slot(self) -> Iterator[AnySlot]:
        """Lend a slot; waits while all are taken."""
        slot = self._free.get()
        try:
            yield slot
        finally:
            self._free.put(slot)


class PassingSession(Session[StageSlot]):
    """A stage of many, which run one after the other: its only slot is made when it is wanted, and then dropped."""

    def __init__(self, make: Callable[[], StageSlot]) -> None:
        super().__init__([])
        self.slots = 1
        self._make = make

    @contextmanager
    def slot(self) -> Iterator[StageSlot]:
        yield self._make()


def stage_session(plan: Plan, run: RunOptions, make: Callable[[], StageSlot]) -> Session[StageSlot]:
    """Return the session of a stage, whose slots `make` makes."""
    if plan.is_long:
        return PassingSession(make)
    return Session([make() for _ in range(run.streams)])


class Backend(ABC):
    """A runtime. Its library is imported when it is used, not before.

    Attributes:
        name: as in `backend=`.
        extra: of `pip install vsparagon[...]`, or "" if always installed.
        precisions: what `precision=` may be; the first is what "auto" means.
        place: what it runs on, for people.
    """

    name: str
    extra: str
    precisions: tuple[Precision, ...]
    place: str = "CPU"

    @abstractmethod
    def missing(self) -> str:
        """Return "" when the runtime can be used here, else why not and what to do."""

    @abstractmethod
    def default_streams(self, threads: int) -> int:
        """Return the number of frames at once that was measured best for this many CPU threads."""

    def on(self, device_id: int) -> Backend:
        """Return this runtime on one device: a `PictureBackend`, or a `FrameBackend` where a GPU works.

        Raises:
            InvalidInput: there is no such device.
            BackendUnavailable: the device cannot be used; the message says why.
        """
        return self.on_cpu(device_id)

    def on_cpu(self, device_id: int) -> Backend:
        """Return this runtime on the CPU, whatever GPUs there are.

        Raises:
            InvalidInput: the device is not 0.
        """
        if device_id != 0:
            raise InvalidInput(
                f"device_id is {device_id}; the backend {self.name!r} runs on the CPU and has only device 0."
            )
        return self


class PictureBackend(Backend):
    """A runtime that takes pictures as arrays of float RGB, whatever made them."""

    @abstractmethod
    def open(self, model: Model, build: BuildOptions, run: RunOptions) -> Session[Slot]:
        """Compile or load the model.

        Raises:
            BackendFailure: the runtime refused it.
        """

    @abstractmethod
    def open_stages(self, plan: Plan, build: BuildOptions, run: RunOptions) -> list[Session[StageSlot]]:
        """Compile or load the stages of a model, in order, for tiles of one size.

        Raises:
            BackendFailure: the runtime refused one.
        """


class FrameBackend(Backend):
    """A runtime on a device that takes frames as they are: the colours are converted there, around the network.

    Args:
        device: where its tensors lie, as torch names it: "cuda:0"; the CPU, too, for tests.
        place: the device, for people.

    Attributes:
        runs_graphs: whether it takes frame graphs as ONNX, and so networks that are known as such alone.
    """

    runs_graphs = True

    def __init__(self, device: str, place: str) -> None:
        self.device, self.place = device, place

    @property
    def is_gpu(self) -> bool:
        """Whether the device is a GPU, and not the CPU in its place."""
        return self.device.startswith("cuda")

    def refusal(self, model: Model) -> str:
        """Return why frames of a model cannot be computed here, "" if they can."""
        if model.checkpoint is not None:
            return ""
        if not self.runs_graphs:
            return f"it runs checkpoints, and {model.name} is an ONNX file"
        return f"{model.name} takes pictures of one size only" if model.sizes.fixed else ""

    def missing(self) -> str:
        return ""  # what `on` returns is there

    def default_streams(self, threads: int) -> int:
        return LANES

    @abstractmethod
    def prepare(self, frame: FrameNetwork, run: RunOptions) -> Any:
        """Return the graph that `open_executor` takes: compiled or loaded once, for every lane.

        Args:
            frame: the network in the precision to compute in, with the conversions around it. Frames of several
                colour descriptions share one network.
            run: cache folder and threads.

        Raises:
            BackendFailure: the runtime refused it.
        """

    @abstractmethod
    def open_executor(self, graph: Any, inputs: dict[str, torch.Tensor], outputs: dict[str, torch.Tensor]) -> Executor:
        """Return the graph bound to the tensors of one lane, whose stream is current.

        Args:
            graph: what `prepare` returned.
            inputs: by the names in `vsparagon.layout.INPUTS`.
            outputs: by those in `OUTPUTS`.

        Raises:
            OutOfDeviceMemory: the device has not enough memory.
            BackendFailure: the runtime refused it.
        """
