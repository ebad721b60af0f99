"""OpenVINO in the worker process, as a backend; its pictures lie in memory that both processes share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from vsparagon.backends.base import PictureBackend
from vsparagon.backends.openvino.client import WorkerProcess, worker_process
from vsparagon.backends.openvino.cpu import OpenVINOCpu
from vsparagon.backends.openvino.library import computes_bfloat16, is_left_behind
from vsparagon.backends.openvino.shared_arrays import SharedArrays
from vsparagon.backends.options import BuildOptions, Precision, RunOptions
from vsparagon.backends.session import Session, Slot, StageSlot, stage_session
from vsparagon.colours.layout import Array
from vsparagon.errors import BackendFailure
from vsparagon.models.model import Model
from vsparagon.models.plan import Plan

INPUT: Final = "input"
OUTPUT: Final = "output"
ANOTHER: Final = "has loaded another OpenVINO, such as that of vs-mlrt"


class _Opened:
    """A model, or its stages, open in the worker for as long as this object lives."""

    def __init__(self, worker: WorkerProcess, model: Model | Plan, build: BuildOptions, run: RunOptions) -> None:
        self.worker = worker
        self._handle, self.slots = worker.call("open", model, build, run)
        worker.release_with(self, self._handle)

    def take(self, index: int, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, SharedArrays]:
        """Take a slot of the session `index`; return its handle and its arrays.

        Raises:
            BackendFailure: memory cannot be shared, or the worker has ended.
        """
        try:
            shared = SharedArrays(shapes)
        except OSError as error:
            raise BackendFailure(f"nothing can be shared with OpenVINO's own process: {error}.") from error
        handle = self.worker.call("take", self._handle, index, shared.place, dict(shapes))
        shared.attached()
        return handle, shared


class _RemoteSlot(Slot):
    """A slot of the worker. `write` has the part asked for copied to the top left of `output`; the rest is stale."""

    def __init__(self, opened: _Opened, model: Model, build: BuildOptions) -> None:
        height, width, s = build.height, build.width, model.scale
        shapes = {INPUT: (1, model.channels, height, width), OUTPUT: (1, model.channels, s * height, s * width)}
        self._opened = opened
        self._handle, self._shared = opened.take(0, shapes)
        self.input, self.output = (self._shared.arrays[name] for name in (INPUT, OUTPUT))
        opened.worker.release_with(self, self._handle)

    def run(self) -> None:
        self._opened.worker.call("run", self._handle)

    def write(self, target: Sequence[Array], rows: slice, columns: slice) -> None:
        self._opened.worker.call("write", self._handle, rows, columns)
        super().write(target, slice(rows.stop - rows.start), slice(columns.stop - columns.start))


class _RemoteStageSlot(StageSlot):
    def __init__(self, opened: _Opened, plan: Plan, index: int, build: BuildOptions) -> None:
        inputs, outputs = (
            shapes(index, build.height, build.width) for shapes in (plan.input_shapes, plan.output_shapes)
        )
        self._opened = opened
        self._handle, self._shared = opened.take(index, inputs | outputs)
        self.inputs, self.outputs = ({name: self._shared.arrays[name] for name in part} for part in (inputs, outputs))
        opened.worker.release_with(self, self._handle)

    def run(self) -> None:
        self._opened.worker.call("run", self._handle)


class RemoteOpenVINO(PictureBackend):
    """OpenVINO in the worker."""

    name, precisions, folds = OpenVINOCpu.name, OpenVINOCpu.precisions, OpenVINOCpu.folds

    def __init__(self) -> None:
        why = "was forked after it started OpenVINO" if is_left_behind() else ANOTHER
        super().__init__(f"in a separate process, because this one {why}")

    def lacks(self, precision: Precision) -> bool:
        return precision == "bf16" and not worker_process().call("compute", computes_bfloat16)

    def open(self, model: Model, build: BuildOptions, run: RunOptions) -> Session[Slot]:
        opened = _Opened(worker_process(), model, build, run)
        return Session([_RemoteSlot(opened, model, build) for _ in range(opened.slots)])

    def open_stages(self, plan: Plan, build: BuildOptions, run: RunOptions) -> list[Session[StageSlot]]:
        opened = _Opened(worker_process(), plan, build, run)
        return [
            stage_session(plan, run, partial(_RemoteStageSlot, opened, plan, index, build))
            for index in range(len(plan.stages))
        ]
