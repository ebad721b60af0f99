"""Intel's OpenVINO on the CPU: the default where no GPU is, on any x86-64 or Arm processor."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from vsparagon.backends.base import Array, BuildOptions, PictureBackend, RunOptions, Session, Slot
from vsparagon.backends.phases import write_phases
from vsparagon.errors import BackendFailure, reason_of
from vsparagon.library import Model

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
        try:
            self._request.start_async()
            self._request.wait()
        except RuntimeError as error:
            raise BackendFailure(f"OpenVINO failed while running the network: {error}") from error


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
            network, shuffle = _without_shuffle(openvino, network, model.scale)
            network = _ports(openvino, network, channels_last=shuffle > 0)
            compiled = core.compile_model(network, "CPU", config)
            # One slot more than streams: a frame is copied in or out while the others compute.
            slots = [_OpenVINOSlot(compiled.create_infer_request(), shuffle) for _ in range(run.streams + 1)]
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
