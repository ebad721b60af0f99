"""The contract between the pipelines and the runtimes: what a runtime can do here, and its form on one device.

A `Runtime` is a library that may be installed. `on` returns it on a device, as a `Backend`: a `PictureBackend` opens a
model for one input size and returns a `Session`, a fixed set of slots, each with an input array to fill and an output
array to read; per frame, nothing is allocated or copied that the library does not need. A `FrameBackend` runs on a
device whose memory `vsparagon.device` manages.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final

from vsparagon.backends.options import BuildOptions, Precision, RunOptions
from vsparagon.backends.session import Session, Slot, StageSlot
from vsparagon.device.executor import Executor
from vsparagon.device.gpus import gpus
from vsparagon.errors import BackendUnavailable, InvalidInput
from vsparagon.models.model import Model
from vsparagon.models.plan import Plan

if TYPE_CHECKING:
    import torch

    from vsparagon.models.frame import FrameNetwork

LANES: Final = 3  # measured (docs/speed.md); `vsparagon.pipelines.frame` sets how many frames are in flight on them


class Runtime(ABC):
    """A library that runs networks. It is not imported before it is used.

    Attributes:
        name: its value for `backend=`.
        extra: its extra in `pip install vsparagon[...]`, or "" if it is always installed.
    """

    name: str
    extra: str

    @abstractmethod
    def missing(self) -> str:
        """Return why the library cannot be used here and what to do about it, or "" if it can."""

    @abstractmethod
    def on(self, device_id: int) -> Backend:
        """Return this runtime on one device: a `FrameBackend` where it can use the GPU, else a `PictureBackend`.

        Raises:
            InvalidInput: there is no such device.
            BackendUnavailable: the device cannot be used; the message says why.
        """


class CpuRuntime(Runtime):
    """A runtime that works on the CPU."""

    def on(self, device_id: int) -> Backend:
        return self.on_cpu(device_id)

    def on_cpu(self, device_id: int) -> PictureBackend:
        """Return this runtime on the CPU, whatever GPUs there are.

        Raises:
            InvalidInput: `device_id` is not 0.
        """
        if device_id != 0:
            raise InvalidInput(
                f"device_id is {device_id}; the backend {self.name!r} runs on the CPU and has only device 0."
            )
        return self.cpu()

    @abstractmethod
    def cpu(self, why: str = "") -> PictureBackend:
        """Return this runtime on the CPU.

        Args:
            why: why it does not use a GPU, for people; "" if there is nothing to say.
        """


class EitherRuntime(CpuRuntime):
    """A runtime that uses a GPU where one works, and the CPU elsewhere.

    Attributes:
        title: its name, for people.
    """

    title: str

    def on(self, device_id: int) -> Backend:
        if not gpus() and device_id == 0:
            return self.cpu("because there is no NVIDIA GPU")
        trouble = self.trouble_with(device_id)
        if not trouble:
            return self.gpu(f"cuda:{device_id}", f"cuda:{device_id} ({gpus()[device_id].name})")
        if device_id:
            raise BackendUnavailable(f"device_id is {device_id}, but {self.title} cannot use it: {trouble}.")
        return self.cpu(f"because {self.title} cannot use the GPU: {trouble}")

    @abstractmethod
    def trouble_with(self, device_id: int) -> str:
        """Return why the runtime cannot compute on a GPU, or "" if it can.

        Raises:
            InvalidInput: there is no GPU of that number.
        """

    @abstractmethod
    def gpu(self, device: str, place: str) -> FrameBackend:
        """Return the runtime on a GPU, in which `trouble_with` has found no fault.

        Args:
            device: in torch's notation.
            place: the device, for people.
        """


class Backend(ABC):
    """A runtime on one device.

    Attributes:
        name: of the runtime.
        place: what it computes on, for people.
        precisions: what `precision=` may be, unless the device `lacks` it; "auto" means the first.
        folds: whether it can fold a model that is `foldable` to one plane.
    """

    name: str
    place: str
    precisions: tuple[Precision, ...]
    folds: bool = False

    def lacks(self, precision: Precision) -> bool:
        """Return whether this device cannot compute in one of `precisions`."""
        return False

    def usable_precisions(self) -> list[Precision]:
        """Return those of `precisions` that this device does not lack."""
        return [precision for precision in self.precisions if not self.lacks(precision)]

    @abstractmethod
    def default_streams(self, threads: int) -> int:
        """Return the default of `RunOptions.streams`, which was measured to be best for this many CPU threads."""


class PictureBackend(Backend):
    """Takes pictures as float arrays N,C,H,W: RGB, or one plane at a time.

    Args:
        why: why it computes here, for people; "" if there is nothing to say.
    """

    def __init__(self, why: str = "") -> None:
        self.place = f"CPU, {why}" if why else "CPU"

    def default_streams(self, threads: int) -> int:
        return threads

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
    """Takes frames in their own format: colours are converted on its device, before and after the network.

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

    def default_streams(self, threads: int) -> int:
        return LANES

    @abstractmethod
    def prepare(self, frame: FrameNetwork, run: RunOptions) -> Any:
        """Compile or load a frame graph once for all lanes, and return what `open_executor` takes.

        The caller must not hold `vsparagon.device.lanes.QUEUING`.

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

        The caller holds `vsparagon.device.lanes.QUEUING`.

        Args:
            graph: what `prepare` returned.
            inputs: the lane's tensors, by the names in `vsparagon.colours.layout.INPUTS`.
            outputs: the same, by the names in `OUTPUTS`.

        Raises:
            OutOfDeviceMemory: the device has not enough memory.
            BackendFailure: the runtime refused the graph.
        """
