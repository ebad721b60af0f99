"""ONNX to an engine, by TensorRT 10 or 11 or by TensorRT-RTX, which needs no GPU to build one.

Everything that the libraries differ in from each other is in this file and in `vsparagon.backends.tensorrt_executor`.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Final

from vsparagon.engines.progress import BuildProgress
from vsparagon.errors import BackendFailure, BackendUnavailable, runtime_failure
from vsparagon.extras import trouble_without
from vsparagon.waiting import call_in_thread

log = logging.getLogger(__name__)

LIBRARIES: Final = {"tensorrt": "tensorrt", "tensorrt_rtx": "tensorrt-rtx"}  # the extra that brings each
MOST_ERRORS: Final = 10  # that one message tells, the last ones
BUILD_REVISION: Final = 2  # of what `build_engine` sets; engines of other revisions are not reused


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Shapes of one input that an engine is built for, of the same rank.

    Attributes:
        smallest, largest: the limits, axis by axis.
        usual: what it is made fastest for.
    """

    smallest: tuple[int, ...]
    usual: tuple[int, ...]
    largest: tuple[int, ...]

    def __str__(self) -> str:
        shapes = (self.smallest, self.usual, self.largest)
        return " / ".join(dict.fromkeys("x".join(map(str, shape)) for shape in shapes))


class TensorRTLibrary:
    """TensorRT or TensorRT-RTX: its module, and what it said.

    Attributes:
        module: imported.
        name: "tensorrt" or "tensorrt_rtx".
        version: its full version, for which alone its engines are valid.
        logger: to be given to everything that the library makes; one for all, as it keeps the first in any case.
    """

    def __init__(self, module: Any) -> None:
        self.module = module
        self.name: str = module.__name__
        self.version: str = module.__version__
        self._errors: deque[str] = deque(maxlen=MOST_ERRORS)
        self.logger = _logger(module, self._errors)

    def begin(self) -> None:
        """Forget what was said before: it is no reason for what fails from now on."""
        self._errors.clear()

    def failure(self, what: str, *details: str) -> BackendFailure:
        """Return the error that says what failed and why: details that are known, and what the library said."""
        reasons = "; ".join(dict.fromkeys((*details, *self._errors))) or "it gave no reason"
        self._errors.clear()
        return runtime_failure(f"{self.name} {self.version} {what}: {reasons}")


def _logger(module: Any, errors: deque[str]) -> Any:
    class Logger(module.ILogger):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            module.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            log.debug("%s: %s", module.__name__, message)
            if severity <= module.ILogger.ERROR:
                errors.append(" ".join(message.split()))

    return Logger()


@cache
def load_library(name: str) -> TensorRTLibrary:
    """Import one of `LIBRARIES`.

    Raises:
        BackendUnavailable: it is not installed, or its own libraries cannot be loaded.
    """
    if missing := trouble_without(name, extra=LIBRARIES[name]):
        raise BackendUnavailable(missing)
    try:
        return TensorRTLibrary(import_module(name))
    except (ImportError, OSError, RuntimeError) as error:  # RuntimeError: the place-holder on PyPI says so itself
        raise BackendUnavailable(f"{name} is installed but cannot be loaded ({error}); install it again") from error


def build_engine(
    library: TensorRTLibrary, onnx: bytes, profiles: Mapping[str, Profile] | None = None, *, name: str, device: str = ""
) -> bytes:
    """Return a serialised engine, valid for this version of the library, this GPU and this platform alone.

    The network is strongly typed: every layer computes in the type that the ONNX file states. TensorRT 11 knows
    nothing else, and 10 does the same when told so. The progress is logged; Ctrl-C ends the build.

    Args:
        library: that builds.
        onnx: a model.
        profiles: by the name of the input, for each input with axes that are not fixed.
        name: of the model, for the log.
        device: to build for, as torch names it; "" for the one that CUDA comes with, and by TensorRT-RTX for all from
            compute capability 8.6 on.

    Raises:
        BackendFailure: the library refused the model; the message is what it said.
        KeyboardInterrupt: Ctrl-C.
    """
    trt = library.module
    library.begin()
    try:
        builder = trt.Builder(library.logger)
    except (RuntimeError, TypeError) as error:  # TypeError: how the binding says that there is none
        raise library.failure("does not run here", str(error)) from error
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, library.logger)
    if not parser.parse(onnx):
        raise library.failure("cannot read this model", *(str(parser.get_error(i)) for i in range(parser.num_errors)))
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # it would round float32, and with it the colours, to 10 bits
    if device and hasattr(trt, "ComputeCapability"):
        with _on(device):
            _aim_at_current(library, config)
    if profiles:
        sizes = builder.create_optimization_profile()
        for image, profile in profiles.items():
            sizes.set_shape(image, profile.smallest, profile.usual, profile.largest)
        config.add_optimization_profile(sizes)
    progress = BuildProgress(f"{library.name} builds the engine of {name}")
    config.progress_monitor = monitor = _monitor(trt, progress)
    held = parser, monitor  # the parser owns the weights; a build that a second Ctrl-C leaves behind still reads both

    def build() -> Any:
        with _on(device):  # each thread has a current device of its own
            return builder.build_serialized_network(network, config), held

    engine, _ = call_in_thread(build, on_interrupt=progress.stop)
    if engine is None:
        raise library.failure("cannot build this model")
    return bytes(engine)


def _aim_at_current(library: TensorRTLibrary, config: Any) -> None:
    """Make TensorRT-RTX build for the GPU that is current, and for no other.

    It builds for others when it is told nothing: for none of compute capability 7.5, and at times slower ones.

    Raises:
        BackendFailure: it does not know that GPU.
    """
    config.num_compute_capabilities = 1
    if not config.set_compute_capability(library.module.ComputeCapability.CURRENT, 0):
        raise library.failure("does not build for this GPU")


def _on(device: str) -> AbstractContextManager[object]:
    if not device:
        return nullcontext()
    import torch

    return torch.cuda.device(device)


def _monitor(trt: Any, progress: BuildProgress) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            progress.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            return progress.step(phase_name, step)

        def phase_finish(self, phase_name: str) -> None:
            progress.finish(phase_name)

    return Monitor()
