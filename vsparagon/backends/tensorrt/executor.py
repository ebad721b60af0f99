"""Engines of TensorRT and TensorRT-RTX, loaded and bound to a GPU's lanes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from vsparagon.device.executor import Executor
from vsparagon.engines.build import TensorRTLibrary
from vsparagon.errors import BackendFailure

if TYPE_CHECKING:
    import torch

    from vsparagon.engines.cache import KernelFile

log = logging.getLogger(__name__)


class Engine:
    """A loaded engine, on the current device.

    Args:
        library: the one that built it.
        data: the serialised engine.
        kernels: cache file for the kernels that TensorRT-RTX compiles when an engine first runs; unused by TensorRT.

    Attributes:
        records_itself: whether the library captures a CUDA graph of the engine's work itself, as TensorRT-RTX does.

    Raises:
        OutOfDeviceMemory: the device has not enough memory.
        BackendFailure: the library refuses the engine.
    """

    def __init__(self, library: TensorRTLibrary, data: bytes, kernels: KernelFile | None = None) -> None:
        self.library = library
        trt = library.module
        library.begin()
        try:
            self._runtime = trt.Runtime(library.logger)
        except (RuntimeError, TypeError) as error:  # TypeError: how the binding reports that there is no runtime
            raise library.failure("does not run here", str(error)) from error
        self._engine = self._runtime.deserialize_cuda_engine(data)
        if self._engine is None:
            raise library.failure("refuses this engine", *self._diagnosis(data))
        self._kernels = kernels
        self._config, self._cache = self._run_time_options()
        self.records_itself = self._config is not None

    def open(self, inputs: dict[str, torch.Tensor], outputs: dict[str, torch.Tensor]) -> TensorRTExecutor:
        """Return the engine bound to these tensors; the contract is that of `FrameBackend.open_executor`.

        The engine is run here: that does what the library leaves to the first run, compiling and allocating, and shows
        errors before the first frame. If the library captures a CUDA graph, it does so in a second run, during which
        other threads must not queue work; that run, too, is done here.
        """
        executor = TensorRTExecutor(self, self._context(), inputs, outputs)
        for _ in range(2 if self.records_itself else 1):
            executor.enqueue()
            executor.stream().synchronize()
        self._keep_kernels()
        return executor

    def check(self, inputs: dict[str, torch.Tensor], outputs: dict[str, torch.Tensor]) -> None:
        """Raise BackendFailure unless these tensors have the engine's names and dtypes, and are contiguous."""
        engine, trt = self._engine, self.library.module
        names = {engine.get_tensor_name(i) for i in range(engine.num_io_tensors)}
        read = {name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT}
        if (read, names - read) != (set(inputs), set(outputs)):
            raise BackendFailure(
                f"the engine reads {sorted(read)} and writes {sorted(names - read)}, "
                f"but is given {sorted(inputs)} and {sorted(outputs)}."
            )
        for name, tensor in (inputs | outputs).items():
            wanted = _dtype(engine.get_tensor_dtype(name))
            if str(tensor.dtype) != wanted or not tensor.is_contiguous():
                layout = "" if tensor.is_contiguous() else ", not contiguous"
                raise BackendFailure(f"{name} is {tensor.dtype}{layout}; the engine wants {wanted}, contiguous.")

    def _context(self) -> Any:
        context = self._engine.create_execution_context(*(() if self._config is None else (self._config,)))
        if context is None:
            raise self.library.failure("cannot prepare this engine to run")
        return context

    def _run_time_options(self) -> tuple[Any, Any]:
        """Return TensorRT-RTX's runtime options and kernel cache; (None, None) for TensorRT.

        The library keeps only their addresses: they must outlive every execution context.
        """
        strategies = getattr(self.library.module, "CudaGraphStrategy", None)
        if strategies is None:
            return None, None
        config = self._engine.create_runtime_config()
        config.cuda_graph_strategy = strategies.WHOLE_GRAPH_CAPTURE
        cache = config.create_runtime_cache()
        kept = self._kernels.read() if self._kernels else None
        if kept is not None and not cache.deserialize(kept):
            log.info("%s", self.library.failure("does not use the cached kernels"))
            kept = None
        if kept is not None:
            self._kernels = None  # nothing to add
        config.set_runtime_cache(cache)
        return config, cache

    def _keep_kernels(self) -> None:
        if self._cache is None or self._kernels is None:
            return
        if (content := self._cache.serialize()) is None:
            log.warning("%s", self.library.failure("cannot save its kernels"))
        else:
            self._kernels.write(bytes(content))
        self._kernels = None  # the next lane compiles nothing more

    def _diagnosis(self, data: bytes) -> list[str]:
        """Return why TensorRT-RTX cannot load an engine; [] for TensorRT, which has no such query."""
        if not hasattr(self._runtime, "get_engine_validity"):
            return []
        _, found = self._runtime.get_engine_validity(data)
        known = self.library.module.EngineInvalidityDiagnostics.__members__
        return [name.lower().replace("_", " ") for name, flag in known.items() if int(found) & int(flag.value)]


class TensorRTExecutor(Executor):
    """An execution context bound to the addresses of one lane's tensors."""

    def __init__(
        self, engine: Engine, context: Any, inputs: dict[str, torch.Tensor], outputs: dict[str, torch.Tensor]
    ) -> None:
        engine.check(inputs, outputs)
        self._library = engine.library
        self._context = context
        self._engine = engine  # its runtime options must outlive the context
        self._tensors = inputs | outputs  # keeps them alive: the library knows only their addresses
        self._device = next(iter(inputs.values())).device
        for name, tensor in inputs.items():
            if not context.set_input_shape(name, tuple(tensor.shape)):
                raise self._library.failure(f"does not take {name} of shape {tuple(tensor.shape)}")
        if missing := context.infer_shapes():
            raise self._library.failure(f"needs the shapes of {', '.join(missing)} as well")
        for name, tensor in outputs.items():
            if (shape := tuple(context.get_tensor_shape(name))) != tuple(tensor.shape):
                raise BackendFailure(f"{name} of the engine is {shape}, but the lane's is {tuple(tensor.shape)}.")
        for name, tensor in self._tensors.items():
            if not context.set_tensor_address(name, tensor.data_ptr()):
                raise self._library.failure(f"does not take the address of {name}")

    def stream(self) -> torch.cuda.Stream:
        """Return the current stream of the lane's device."""
        import torch

        return torch.cuda.current_stream(self._device)

    def enqueue(self) -> None:
        if not self._context.execute_async_v3(self.stream().cuda_stream):
            raise self._library.failure("failed while running the network")


def _dtype(kind: Any) -> str:
    """Return the name of torch's dtype for one of the library's types, such as "torch.float32"."""
    names = {"FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16", "UINT8": "uint8"}
    return f"torch.{names.get(kind.name, kind.name.lower())}"
