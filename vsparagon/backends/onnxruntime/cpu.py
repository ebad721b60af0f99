"""ONNX Runtime's CPU provider."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from vsparagon.backends.base import PictureBackend
from vsparagon.backends.onnxruntime.library import onnxruntime_module
from vsparagon.backends.options import BuildOptions, RunOptions
from vsparagon.backends.session import Session, Slot, StageSlot, stage_session
from vsparagon.errors import BackendFailure
from vsparagon.models.model import Model
from vsparagon.models.plan import Plan

if TYPE_CHECKING:
    import onnxruntime


class _OnnxRuntimeSlot(Slot):
    def __init__(self, session: onnxruntime.InferenceSession, model: Model, build: BuildOptions) -> None:
        self._session = session
        self._binding = session.io_binding()
        height, width, scale = build.height, build.width, model.scale
        self.input = np.zeros((1, model.channels, height, width), _type_of(session.get_inputs()[0]))
        shape = (1, model.channels, height * scale, width * scale)
        self.output = np.zeros(shape, _type_of(session.get_outputs()[0]))
        # Bound once: the runtime reads and writes these arrays directly.
        values = [onnxruntime_module().OrtValue.ortvalue_from_numpy(array) for array in (self.input, self.output)]
        self._binding.bind_ortvalue_input(session.get_inputs()[0].name, values[0])
        self._binding.bind_ortvalue_output(session.get_outputs()[0].name, values[1])

    def run(self) -> None:
        _run(self._session, self._binding)


def _type_of(port: onnxruntime.NodeArg) -> type[np.floating]:
    return np.float16 if port.type == "tensor(float16)" else np.float32


class _OnnxRuntimeStageSlot(StageSlot):
    def __init__(self, session: onnxruntime.InferenceSession, plan: Plan, index: int, build: BuildOptions) -> None:
        self._session = session
        self._binding = session.io_binding()
        shapes = (shapes(index, build.height, build.width) for shapes in (plan.input_shapes, plan.output_shapes))
        self.inputs, self.outputs = ({k: np.zeros(shape, np.float32) for k, shape in s.items()} for s in shapes)
        for name, array in self.inputs.items():
            self._binding.bind_ortvalue_input(name, onnxruntime_module().OrtValue.ortvalue_from_numpy(array))
        for name, array in self.outputs.items():
            self._binding.bind_ortvalue_output(name, onnxruntime_module().OrtValue.ortvalue_from_numpy(array))

    def run(self) -> None:
        _run(self._session, self._binding)


def _run(session: onnxruntime.InferenceSession, binding: onnxruntime.IOBinding) -> None:
    try:
        session.run_with_iobinding(binding)
    except Exception as error:  # the library's own exceptions share no narrower base
        raise BackendFailure(f"ONNX Runtime failed while running the network: {error}") from error


class OnnxRuntimeCpu(PictureBackend):
    """ONNX Runtime on the CPU. Each stream computes on its caller's thread; all streams share the other threads."""

    name = "onnxruntime"
    precisions = ("fp32",)

    def open(self, model: Model, build: BuildOptions, run: RunOptions) -> Session[Slot]:
        options = _options(run)
        try:
            if model.checkpoint is not None:  # our own graph, whose axes have known names
                options.add_free_dimension_override_by_name("height", build.height)
                options.add_free_dimension_override_by_name("width", build.width)
            session = onnxruntime_module().InferenceSession(
                str(model.graph), sess_options=options, providers=["CPUExecutionProvider"]
            )
            slots = [_OnnxRuntimeSlot(session, model, build) for _ in range(run.streams)]
        except Exception as error:  # the library's own exceptions share no narrower base
            raise BackendFailure(f"ONNX Runtime refused {model.name}: {error}") from error
        batch = session.get_inputs()[0].shape[0]
        if isinstance(batch, int) and batch != 1:
            raise BackendFailure(
                f"{model.name} takes {batch} pictures at once, which ONNX Runtime cannot change; export it for one or "
                'for any number, or use backend="openvino".'
            )
        return Session(slots)

    def open_stages(self, plan: Plan, build: BuildOptions, run: RunOptions) -> list[Session[StageSlot]]:
        options = _options(run)
        options.enable_cpu_mem_arena = False  # each stage would hold an arena of its own
        options.add_free_dimension_override_by_name("height", build.height)
        options.add_free_dimension_override_by_name("width", build.width)
        sessions = []
        try:
            for index in range(len(plan.stages)):
                session = onnxruntime_module().InferenceSession(
                    plan.graph(index), sess_options=options, providers=["CPUExecutionProvider"]
                )
                sessions.append(stage_session(plan, run, partial(_OnnxRuntimeStageSlot, session, plan, index, build)))
        except Exception as error:  # the library's own exceptions share no narrower base
            raise BackendFailure(f"ONNX Runtime refused a stage of {plan.checkpoint.name}: {error}") from error
        return sessions


def _options(run: RunOptions) -> onnxruntime.SessionOptions:
    options = onnxruntime_module().SessionOptions()
    # Each stream computes on the thread that calls it; the other threads are a pool that all streams share.
    options.intra_op_num_threads = max(1, run.threads - run.streams + 1)
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return options
