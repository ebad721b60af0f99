"""The contract between the pipeline and a runtime.

A `PictureBackend` opens a model for one input size and returns a `Session`: a fixed set of slots, each with an input
array to fill and an output array to read. Per frame, nothing is allocated or copied that the runtime does not need.
A `FrameBackend` runs on a device, whose memory `vsparagon.backends.device` manages.
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

LANES: Final = 3  # measured (docs/speed.md); `vsparagon.frame_pipeline` sets how many frames are in flight on them

Precision = Literal["fp32", "fp16", "bf16", "int8"]


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """What a compiled network depends on, apart from the model.

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
        threads: CPU threads the runtime may use in total.
        cache: folder for compiled networks and notes of crashes.
    """

    streams: int
    threads: int
    cache: Path


class Slot(ABC):
    """Room for one frame. One thread at a time.

    Attributes:
        input: 1,channels,H,W, to be filled before each `run`, which may change it; float32, or float16 where the
            network takes that.
        output: the result, valid from one `run` to the next: 1,channels,scale*H,scale*W, or a layout of the slot's
            own. Read it through `write`, which knows the layout.
    """

    input: Array
    output: Array

    @abstractmethod
    def run(self) -> None:
        """Compute `output` from `input`; return when it is complete.

        Raises:
            BackendFailure: the runtime failed.
        """

    def write(self, target: Sequence[Array], rows: slice, columns: slice) -> None:
        """Copy a part of the result into one array per channel, each as large as the part.

        Args:
            target: H,W arrays; written.
            rows, columns: of the result.

        Raises:
            BackendFailure: the runtime failed.
        """
        for plane, result in zip(target, self.output[0], strict=True):
            plane[:] = result[rows, columns]


class StageSlot(ABC):
    """Room for one tile in one stage of a network. One thread at a time.

    Attributes:
        inputs: float32 arrays by name, shaped as `Plan.input_shapes` says; to be filled before each `run`.
        outputs: float32 arrays by name, shaped as `Plan.output_shapes` says; valid from one `run` to the next.
    """

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]

    @abstractmethod
    def run(self) -> None:
        """Compute `outputs` from `inputs`; return when they are complete.

        Raises:
            BackendFailure: the runtime failed.
        """


class Session[AnySlot: (Slot, StageSlot)]:
    """An open model, or one stage of it, which lends each of its slots to one caller at a time. Thread-safe.

    Attributes:
        slots: how many there are.
    """

    def __init__(self, slots: Sequence[AnySlot]) -> None:
        self.slots = len(slots)
        self._free: queue.SimpleQueue[AnySlot] = queue.SimpleQueue()
        for slot in slots:
            self._free.put(slot)

    @contextmanager
    def slot(self) -> Iterator[AnySlot]:
        """Lend a slot; wait while all are taken."""
        slot = self._free.get()
        try:
            yield slot
        finally:
            self._free.put(slot)


class PassingSession(Session[StageSlot]):
    """One stage of many that run one after the other: it makes a slot for each use and drops it afterwards.

    That saves memory. The caller must take one slot at a time.
    """

    def __init__(self, make: Callable[[], StageSlot]) -> None:
        super().__init__([])
        self.slots = 1
        self._make = make

    @contextmanager
    def slot(self) -> Iterator[StageSlot]:
        yield self._make()


def stage_session(plan: Plan, run: RunOptions, make: Callable[[], StageSlot]) -> Session[StageSlot]:
    """Return the session of a stage. `make` makes its slots: one per stream, or in a long plan one for each use."""
    if plan.is_long:
        return PassingSession(make)
    return Session([make() for _ in range(run.streams)])


class Backend(ABC):
    """A runtime. Its library is not imported before it is used.

    Attributes:
        name: its value for `backend=`.
        extra: its extra in `pip install vsparagon[...]`, or "" if it is always installed.
        precisions: what `precision=` may be; "auto" means the first.
        place: what it runs on, for people.
    """

    name: str
    extra: str
    precisions: tuple[Precision, ...]
    place: str = "CPU"

    @abstractmethod
    def missing(self) -> str:
        """Return why the runtime cannot be used here and what to do about it, or "" if it can."""

    @abstractmethod
    def default_streams(self, threads: int) -> int:
        """Return the default of `RunOptions.streams`, which was measured to be best for this many CPU threads."""

    def on(self, device_id: int) -> Backend:
        """Return this runtime on one device: a `FrameBackend` where it can use the GPU, else a `PictureBackend`.

        Raises:
            InvalidInput: there is no such device.
            BackendUnavailable: the device cannot be used; the message says why.
        """
        return self.on_cpu(device_id)

    def on_cpu(self, device_id: int) -> Backend:
        """Return this runtime on the CPU, whatever GPUs there are.

        Raises:
            InvalidInput: `device_id` is not 0.
        """
        if device_id != 0:
            raise InvalidInput(
                f"device_id is {device_id}; the backend {self.name!r} runs on the CPU and has only device 0."
            )
        return self


class PictureBackend(Backend):
    """A runtime that takes pictures as float arrays N,C,H,W: RGB, or one plane at a time."""

    @abstractmethod
    def open(self, model: Model, build: BuildOptions, run: RunOptions) -> Session[Slot]:
        """Compile or load a model for one input size.

        Raises:
            BackendFailure: the runtime refused it.
            BackendUnavailable: it runs checkpoints only and the model has none, or its process cannot be started.
            ModelError: the model's file cannot be used.
        """

    @abstractmethod
    def open_stages(self, plan: Plan, build: BuildOptions, run: RunOptions) -> list[Session[StageSlot]]:
        """Compile or load the stages of a model, in order, for tiles of one size.

        Raises:
            BackendFailure: the runtime refused a stage.
            BackendUnavailable: the runtime's process cannot be started.
            ModelError: the model's file cannot be used.
        """


class FrameBackend(Backend):
    """A runtime on a device, to which frames go in their own format: colours are converted there, around the network.

    Args:
        device: where its tensors lie, in torch's notation: "cuda:0", or "cpu" for tests.
        place: the device, for people.

    Attributes:
        runs_graphs: whether it runs frame graphs exported as ONNX, and thus networks that exist only as ONNX files.
    """

    runs_graphs = True

    def __init__(self, device: str, place: str) -> None:
        self.device, self.place = device, place

    @property
    def is_gpu(self) -> bool:
        """Whether the device is a GPU, rather than the CPU standing in for one."""
        return self.device.startswith("cuda")

    def refusal(self, model: Model) -> str:
        """Return why this model's frames cannot be computed here, or "" if they can."""
        if model.checkpoint is not None:
            return ""
        if not self.runs_graphs:
            return f"it runs checkpoints, and {model.name} is an ONNX file"
        return f"{model.name} takes pictures of one size only" if model.sizes.fixed else ""

    def missing(self) -> str:
        return ""  # `on` has already checked

    def default_streams(self, threads: int) -> int:
        return LANES

    @abstractmethod
    def prepare(self, frame: FrameNetwork, run: RunOptions) -> Any:
        """Compile or load a frame graph once for all lanes, and return what `open_executor` takes.

        The caller must not hold `vsparagon.backends.device.QUEUING`.

        Args:
            frame: the network, in the precision to compute in, with a frame's conversions around it. May be moved to
                the device, in place; the frame graphs of several colour descriptions share one network.
            run: cache folder and threads.

        Raises:
            OutOfDeviceMemory: the device has not enough memory.
            BackendFailure: the runtime refused the graph.
            ModelError: a part of the network has no ONNX form.
            InvalidInput: the cache folder cannot be created.
        """

    @abstractmethod
    def open_executor(self, graph: Any, inputs: dict[str, torch.Tensor], outputs: dict[str, torch.Tensor]) -> Executor:
        """Bind a graph to the tensors of one lane, whose stream is current.

        The caller holds `vsparagon.backends.device.QUEUING`.

        Args:
            graph: what `prepare` returned.
            inputs: the lane's tensors, by the names in `vsparagon.layout.INPUTS`.
            outputs: the same, by the names in `OUTPUTS`.

        Raises:
            OutOfDeviceMemory: the device has not enough memory.
            BackendFailure: the runtime refused the graph.
        """
