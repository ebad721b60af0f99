"""Build engines from ONNX, with TensorRT 10 or 11, or with TensorRT-RTX, which needs no GPU to build one.

All differences between the libraries are handled in this file and in `vsparagon.backends.tensorrt.executor`.
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
from vsparagon.system.waiting import call_in_thread

log = logging.getLogger(__name__)

LIBRARIES: Final = {"tensorrt": "tensorrt", "tensorrt_rtx": "tensorrt-rtx"}  # module -> extra that installs it
MOST_ERRORS: Final = 10  # a message quotes only the library's last errors
BUILD_REVISION: Final = 2  # raise it when `build_engine` changes its settings: engines of other revisions are rebuilt


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The shapes of one input that an engine is built for, all of the same rank.

    Attributes:
        smallest, largest: limits of each axis.
        usual: shape for which the engine is optimised.
    """

    smallest: tuple[int, ...]
    usual: tuple[int, ...]
    largest: tuple[int, ...]

    def __str__(self) -> str:
        shapes = (self.smallest, self.usual, self.largest)
        return " / ".join(dict.fromkeys("x".join(map(str, shape)) for shape in shapes))


class TensorRTLibrary:
    """TensorRT or TensorRT-RTX: its module, and the errors that it has logged.

    Attributes:
        module: the imported module.
        name: "tensorrt" or "tensorrt_rtx".
        version: full version; engines are valid only for this one.
        logger: to pass to every object of the library; a single one, because the library keeps the first in any case.
    """

    def __init__(self, module: Any) -> None:
        self.module = module
        self.name: str = module.__name__
        self.version: str = module.__version__
        self._errors: deque[str] = deque(maxlen=MOST_ERRORS)
        self.logger = _logger(module, self._errors)

    def begin(self) -> None:
        """Forget errors logged so far, so that they are not given as the reason of a later failure."""
        self._errors.clear()

    def failure(self, what: str, *details: str) -> BackendFailure:
        """Return an exception that says what failed and why.

        Args:
            what: what failed, to follow the library's name and version.
            details: known reasons; the errors that the library has logged follow them.
        """
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
    """Import a library, a key of `LIBRARIES`. The result is cached.

    Raises:
        BackendUnavailable: it is not installed or too old, or its own libraries cannot be loaded.
    """
    if missing := trouble_without(name, extra=LIBRARIES[name]):
        raise BackendUnavailable(missing)
    try:
        return TensorRTLibrary(import_module(name))
    except (ImportError, OSError, RuntimeError) as error:  # RuntimeError: raised by the placeholder package on PyPI
        raise BackendUnavailable(f"{name} is installed but cannot be loaded ({error}); install it again") from error


def build_engine(
    library: TensorRTLibrary, onnx: bytes, profiles: Mapping[str, Profile] | None = None, *, name: str, device: str = ""
) -> bytes:
    """Return a serialised engine, valid only for this version of the library, this GPU and this platform.

    The network is strongly typed: every layer computes in the type that the ONNX file states. TensorRT 11 supports
    nothing else; for TensorRT 10 it is set explicitly. Progress is logged, and Ctrl-C ends the build.

    Args:
        library: what builds the engine.
        onnx: a serialised ONNX model.
        profiles: by input name, for every input with axes that are not fixed.
        name: of the model, for the log.
        device: GPU to build for, as torch names it; "" for CUDA's default or, with TensorRT-RTX, for all GPUs of
            compute capability 8.6 or higher.

    Raises:
        BackendFailure: the library does not run here or refused the model; the message quotes its errors.
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    trt = library.module
    library.begin()
    try:
        builder = trt.Builder(library.logger)
    except (RuntimeError, TypeError) as error:  # TypeError: raised by the binding if it gets no builder
        raise library.failure("does not run here", str(error)) from error
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, library.logger)
    if not parser.parse(onnx):
        raise library.failure("cannot read this model", *(str(parser.get_error(i)) for i in range(parser.num_errors)))
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # it would round float32, and thus the colours, to a 10-bit mantissa
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
    held = parser, monitor  # keep alive: the parser owns the weights, and a build left behind by Ctrl-C still uses both

    def build() -> Any:
        with _on(device):  # the current device is per thread
            return builder.build_serialized_network(network, config), held

    engine, _ = call_in_thread(build, on_interrupt=progress.stop)
    if engine is None:
        raise library.failure("cannot build this model")
    return bytes(engine)


def _aim_at_current(library: TensorRTLibrary, config: Any) -> None:
    """Make TensorRT-RTX build for the current GPU only.

    Its default targets several GPUs, but none of compute capability 7.5, and sometimes gives slower engines.

    Raises:
        BackendFailure: it does not support this GPU.
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
