"""Intel's OpenVINO on the CPU: the default where no GPU is, on any x86-64 or Arm processor."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from vsparagon.backends.base import (
    Array,
    BuildOptions,
    PassingSession,
    PictureBackend,
    RunOptions,
    Session,
    Slot,
    StageSlot,
)
from vsparagon.backends.openvino_base import MIDDLE, anchor_apart, base_apart, take_about_middle
from vsparagon.backends.phases import write_phases
from vsparagon.errors import BackendFailure, reason_of
from vsparagon.library import Model
from vsparagon.stages import Plan

if TYPE_CHECKING:
    import openvino


class _OpenVINOSlot(Slot):
    """Room for one frame; where the network ends with a pixel shuffle, its output is kept as before that.

    The output is then 1,H,W,channels*scale*scale, in the order in which the convolution writes it, and the shuffle
    happens in `write`, in the copy that is made anyway.
    """

    def __init__(self, request: openvino.InferRequest, shuffle: int) -> None:
        self._request = request
        self._shuffle = shuffle
        self.input = request.get_input_tensor().data
        self.output = request.get_output_tensor().data

    def write(self, target: Sequence[Array], rows: slice, columns: slice) -> None:
        if self._shuffle:
            write_phases(self.output[0], self._shuffle, target, rows, columns)
        else:
            super().write(target, rows, columns)

    def run(self) -> None:
        _run(self._request)


class _OpenVINOAnchorSlot(_OpenVINOSlot):
    """What is added to repeated pixels; those are added in the copy.

    Args:
        about_middle: whether the network takes the picture less `MIDDLE`.
    """

    def __init__(self, request: openvino.InferRequest, shuffle: int, *, about_middle: bool) -> None:
        super().__init__(request, shuffle)
        self._taken = self.input
        self._about_middle = about_middle
        if about_middle:
            self.input = np.empty_like(self._taken)

    def run(self) -> None:
        if self._about_middle:
            np.subtract(self.input, MIDDLE, out=self._taken)
        super().run()

    def write(self, target: Sequence[Array], rows: slice, columns: slice) -> None:
        write_phases(self.output[0], self._shuffle, target, rows, columns, repeated=self.input[0])


class _OpenVINOSplitSlot(_OpenVINOSlot):
    """The base and what is added to it, from two networks."""

    def __init__(self, base: openvino.InferRequest, detail: openvino.InferRequest, shuffle: int) -> None:
        super().__init__(base, shuffle)
        self._detail = detail
        self._added = detail.get_output_tensor().data
        detail.set_input_tensor(base.get_input_tensor())

    def run(self) -> None:
        self.input -= MIDDLE
        _run(self._detail)
        super().run()
        self.output += self._added


class _OpenVINOStageSlot(StageSlot):
    def __init__(self, compiled: openvino.CompiledModel, plan: Plan, index: int) -> None:
        self._request = compiled.create_infer_request()
        stage = plan.stages[index]
        self.inputs = {name: self._request.get_tensor(name).data for name in stage.inputs}
        self.outputs = {name: self._request.get_tensor(name).data for name in stage.outputs}

    def run(self) -> None:
        _run(self._request)


class OpenVINO(PictureBackend):
    """OpenVINO's CPU plugin, with a static shape and the precision stated: left alone it takes bf16 on AMX."""

    name = "openvino"
    extra = ""
    precisions = ("fp32", "bf16")

    def missing(self) -> str:
        if not find_spec("openvino"):
            return "openvino is not installed; pip install openvino"
        try:
            import_openvino()
        except ImportError as error:
            return (
                "openvino cannot be loaded beside another OpenVINO of this process, such as vs-mlrt's plugin; remove "
                f"one of them, or import openvino in Python before VapourSynth's core is used ({reason_of(error)})"
            )
        return ""

    def default_streams(self, threads: int) -> int:
        return threads

    def open(self, model: Model, build: BuildOptions, run: RunOptions) -> Session[Slot]:
        openvino = import_openvino()
        core, config = openvino.Core(), _config(build, run)
        try:
            network = core.read_model(model.onnx())
            network.reshape([1, model.channels, build.height, build.width])
            network, shuffle = _without_shuffle(openvino, network, model.scale)
            rounds = build.precision == "bf16" and model.bytes_per_pixel is not None and shuffle > 0
            base = None
            if anchored := shuffle > 0 and anchor_apart(network, shuffle):
                if rounds:
                    take_about_middle(openvino, network)
            elif rounds:
                base = _ports(openvino, base_apart(openvino, network), channels_last=True)
                base = core.compile_model(base, "CPU", _config(replace(build, precision="fp32"), run))
            network = _ports(openvino, network, channels_last=shuffle > 0)
            compiled = core.compile_model(network, "CPU", config)

            def slot() -> Slot:
                request = compiled.create_infer_request()
                if anchored:
                    return _OpenVINOAnchorSlot(request, shuffle, about_middle=rounds)
                if base:
                    return _OpenVINOSplitSlot(base.create_infer_request(), request, shuffle)
                return _OpenVINOSlot(request, shuffle)

            # One slot more than streams: a frame is copied in or out while the others compute.
            slots = [slot() for _ in range(run.streams + 1)]
        except RuntimeError as error:
            raise BackendFailure(f"OpenVINO refused {model.name}: {error}") from error
        return Session(slots)

    def open_stages(self, plan: Plan, build: BuildOptions, run: RunOptions) -> list[Session[StageSlot]]:
        openvino = import_openvino()
        core, config = openvino.Core(), _config(build, run)

        def compile_stage(index: int) -> Any:
            try:
                network = core.read_model(plan.graph(index))
                shapes = plan.input_shapes(index, build.height, build.width)
                network.reshape({name: list(shape) for name, shape in shapes.items()})
                return core.compile_model(network, "CPU", config)
            except RuntimeError as error:
                raise BackendFailure(f"OpenVINO refused a stage of {plan.checkpoint.name}: {error}") from error

        def session(index: int) -> Session[StageSlot]:
            if plan.is_long:  # a compiled stage keeps the memory that it runs in
                return PassingSession(lambda: _OpenVINOStageSlot(compile_stage(index), plan, index))
            compiled = compile_stage(index)
            return Session([_OpenVINOStageSlot(compiled, plan, index) for _ in range(run.streams)])

        return [session(index) for index in range(len(plan.stages))]


def _config(build: BuildOptions, run: RunOptions) -> dict[str, str]:
    return {
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[build.precision],
        "NUM_STREAMS": str(run.streams),
        "INFERENCE_NUM_THREADS": str(run.threads),
        "ENABLE_CPU_PINNING": "NO",
        "CACHE_DIR": str(run.cache / f"openvino-{version('openvino')}"),
    }


def _run(request: openvino.InferRequest) -> None:
    try:
        request.start_async()
        request.wait()
    except RuntimeError as error:
        raise BackendFailure(f"OpenVINO failed while running the network: {error}") from error


def import_openvino() -> Any:
    """Import OpenVINO without its telemetry, which would fork this process, threads and all, to call home."""
    name = "openvino_telemetry"
    if "openvino" in sys.modules or name in sys.modules:
        return import_module("openvino")
    sys.modules[name] = None  # type: ignore[assignment]  # makes the import fail; OpenVINO then does without
    try:
        return import_module("openvino")
    finally:
        del sys.modules[name]


def _ports(openvino: Any, network: Any, *, channels_last: bool) -> Any:
    """Give the network float32 ports, whatever its own are, and the output its channels last if so asked."""
    steps = openvino.preprocess.PrePostProcessor(network)
    steps.input().tensor().set_element_type(openvino.Type.f32)
    steps.output().tensor().set_element_type(openvino.Type.f32)
    if channels_last:
        steps.output().model().set_layout(openvino.Layout("NCHW"))
        steps.output().tensor().set_layout(openvino.Layout("NHWC"))
    return steps.build()


def _without_shuffle(openvino: Any, network: Any, scale: int) -> tuple[Any, int]:
    """Return the network without the pixel shuffle at its end, and that shuffle's factor; as it is, and 0, if none."""
    last = network.get_results()[0].input_value(0).get_node()
    while last.get_type_name() == "Identity":
        last = last.input_value(0).get_node()
    if last.get_type_name() != "DepthToSpace":
        return network, 0
    attributes = last.get_attributes()
    if (attributes["mode"], attributes["block_size"]) != ("depth_first", scale):
        return network, 0
    return openvino.Model([last.input_value(0)], network.get_parameters(), network.get_friendly_name()), scale
