"""Intel's OpenVINO on the CPU: the default where no GPU is, on any x86-64 or Arm processor."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from vsparagon.backends.base import Backend, BuildOptions, RunOptions, Session, Slot
from vsparagon.errors import BackendFailure, reason_of
from vsparagon.library import Model

if TYPE_CHECKING:
    import openvino


class _OpenVINOSlot(Slot):
    def __init__(self, request: openvino.InferRequest) -> None:
        self._request = request
        self.input = request.get_input_tensor().data
        self.output = request.get_output_tensor().data

    def run(self) -> None:
        try:
            self._request.start_async()
            self._request.wait()
        except RuntimeError as error:
            raise BackendFailure(f"OpenVINO failed while running the network: {error}") from error


class OpenVINO(Backend):
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

    def open(self, model: Model, build: BuildOptions, run: RunOptions) -> Session:
        openvino = import_openvino()
        core = openvino.Core()
        config = {
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[build.precision],
            "NUM_STREAMS": str(run.streams),
            "INFERENCE_NUM_THREADS": str(run.threads),
            "ENABLE_CPU_PINNING": "NO",
            "CACHE_DIR": str(run.cache / f"openvino-{version('openvino')}"),
        }
        try:
            network = core.read_model(model.onnx())
            network.reshape([1, model.channels, build.height, build.width])
            network = _in_float32(openvino, network)
            compiled = core.compile_model(network, "CPU", config)
            # One slot more than streams: a frame is copied in or out while the others compute.
            slots = [_OpenVINOSlot(compiled.create_infer_request()) for _ in range(run.streams + 1)]
        except RuntimeError as error:
            raise BackendFailure(f"OpenVINO refused {model.name}: {error}") from error
        return Session(slots)


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


def _in_float32(openvino: Any, network: Any) -> Any:
    """Give the network float32 ports, whatever its own are."""
    steps = openvino.preprocess.PrePostProcessor(network)
    steps.input().tensor().set_element_type(openvino.Type.f32)
    steps.output().tensor().set_element_type(openvino.Type.f32)
    return steps.build()
