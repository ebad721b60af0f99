"""A stand-in for the run-time part of TensorRT, for machines without a GPU.

It has the library's names and behaviour: raw addresses, a queue that runs later, False instead of exceptions. But where
the library would read freed memory or compute wrong results, it raises `Fault`. Its results are real: ONNX Runtime
computes them on the CPU, from and to the given addresses. Its engines contain the ONNX file.
"""

import ctypes
import weakref
from collections import deque
from enum import Enum
from types import SimpleNamespace

import numpy as np
import onnxruntime
import torch

MARK = b"engine of the stand-in:"
STREAM = 0x57EA4


class Fault(Exception):
    """Something that would be undefined behaviour on a GPU."""


class Memory:
    """Tensors that can be found by their addresses as long as they exist."""

    class _Buffer(bytearray):
        """A bytearray that weak references can refer to."""

    def __init__(self):
        self._blocks = {}

    def tensor(self, shape, dtype):
        buffer = self._Buffer(int(np.prod(shape)) * dtype.itemsize)
        tensor = torch.frombuffer(buffer, dtype=dtype).view(*shape)
        self._blocks[tensor.data_ptr()] = weakref.ref(buffer)
        return tensor

    def watch(self, tensor):
        """Register a tensor that was made elsewhere, as long as it exists."""
        self._blocks[tensor.data_ptr()] = weakref.ref(tensor)

    def array(self, name, address, shape, dtype):
        """Return the array at an address, which must be that of an existing tensor of the same size."""
        block = self._blocks.get(address, lambda: None)()
        if block is None:
            raise Fault(f"the address of {name} is of no living tensor")
        needed = int(np.prod(shape)) * np.dtype(dtype).itemsize
        size = block.nbytes if isinstance(block, torch.Tensor) else len(block)
        if size != needed:
            raise Fault(f"{name} of shape {shape} needs {needed} bytes; at its address are {size}")
        return np.frombuffer((ctypes.c_char * needed).from_address(address), dtype).reshape(shape)


class Stream:
    """Does its work only when it is waited for, as late as a busy GPU might; with `at_once`, immediately.

    `at_once` is for lanes on a CPU, whose copies are not queued.
    """

    cuda_stream = STREAM

    def __init__(self, at_once=False):
        self._queue = deque()
        self._at_once = at_once

    @property
    def pending(self):
        return len(self._queue)

    def put(self, context):
        self._queue.append(weakref.ref(context))
        if self._at_once:
            self.synchronize()

    def synchronize(self):
        while self._queue:
            context = self._queue.popleft()()
            if context is None:
                raise Fault("an execution context is gone before its work is done")
            context._execute()


class DataType(Enum):
    FLOAT = np.float32
    HALF = np.float16
    UINT8 = np.uint8


class TensorIOMode(Enum):
    INPUT = 1
    OUTPUT = 2


class CudaGraphStrategy(Enum):
    DISABLED = 0
    WHOLE_GRAPH_CAPTURE = 1


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


TYPES = {"tensor(float)": DataType.FLOAT, "tensor(float16)": DataType.HALF, "tensor(uint8)": DataType.UINT8}


class IExecutionContext:
    def __init__(self, engine):
        self._engine = engine
        self._shapes = {}
        self._addresses = {}
        self._runs = 0

    def set_input_shape(self, name, shape):
        declared = self._engine.get_tensor_shape(name)
        if self._engine.get_tensor_mode(name) != TensorIOMode.INPUT:
            raise Fault(f"{name} is no input")
        if len(declared) != len(shape) or any(d not in (-1, s) for d, s in zip(declared, shape, strict=True)):
            self._engine.say(f"{name} takes {declared}, not {shape}")
            return False
        self._shapes[name] = tuple(shape)
        return True

    def infer_shapes(self):
        return [name for name in self._engine.inputs if -1 in self._shape(name)]

    def get_tensor_shape(self, name):
        if name in self._engine.inputs:
            return self._shape(name)
        if self.infer_shapes():
            raise Fault("the shape of an output is asked for before those of the inputs are set")
        return self._engine.output_shapes(self._shapes)[name]

    def set_tensor_address(self, name, memory):
        if not isinstance(memory, int) or memory == 0:
            raise Fault(f"the address of {name} is {memory!r}")
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle):
        if stream_handle != STREAM:
            raise Fault(f"the stream {stream_handle:#x} is not the lane's")
        if missing := [*self.infer_shapes(), *(set(self._engine.tensors) - set(self._addresses))]:
            raise Fault(f"executed before shapes and addresses are set: {missing}")
        self._engine.stream.put(self)
        return True

    def _shape(self, name):
        return self._shapes.get(name, self._engine.get_tensor_shape(name))

    def _execute(self):
        engine = self._engine
        if engine.rtx and not (engine.options() and engine.options().kernels()):
            raise Fault("the run-time options or the cache of kernels are gone before the context")
        self._runs += 1
        if engine.rtx and self._runs == 2 and engine.stream.pending:  # CudaGraphStrategy records the second run
            raise Fault("recorded while other work is on its way")
        arrays = {
            name: engine.memory.array(
                name, self._addresses[name], self.get_tensor_shape(name), engine.get_tensor_dtype(name).value
            )
            for name in engine.tensors
        }
        results = engine.run({name: arrays[name] for name in engine.inputs})
        for name, result in results.items():
            arrays[name][...] = result


class IRuntimeCache:
    def __init__(self):
        self.content = b""

    def serialize(self):
        return self.content + b"+kernels"

    def deserialize(self, content):
        self.content = content
        return not content.startswith(b"bad")


class IRuntimeConfig:
    cuda_graph_strategy = CudaGraphStrategy.DISABLED

    def create_runtime_cache(self):
        return IRuntimeCache()

    def set_runtime_cache(self, cache):
        self.kernels = weakref.ref(cache)


class ICudaEngine:
    def __init__(self, onnx, memory, stream, say):
        self.memory, self.stream, self.say = memory, stream, say
        self._session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
        self.inputs = {value.name: value for value in self._session.get_inputs()}
        self.tensors = self.inputs | {value.name: value for value in self._session.get_outputs()}
        self.rtx = False

    @property
    def num_io_tensors(self):
        return len(self.tensors)

    def get_tensor_name(self, index):
        return list(self.tensors)[index]

    def get_tensor_mode(self, name):
        return TensorIOMode.INPUT if name in self.inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name):
        return TYPES[self.tensors[name].type]

    def get_tensor_shape(self, name):
        return tuple(n if isinstance(n, int) else -1 for n in self.tensors[name].shape)

    def create_runtime_config(self):
        return IRuntimeConfig()

    def create_execution_context(self, runtime_config=None):
        self.rtx = runtime_config is not None
        self.options = weakref.ref(runtime_config) if self.rtx else None
        return IExecutionContext(self)

    def output_shapes(self, shapes):
        return {name: a.shape for name, a in self.run({n: np.zeros(s, self.get_tensor_dtype(n).value)
                for n, s in shapes.items()}).items()}  # fmt: skip

    def run(self, inputs):
        names = [name for name in self.tensors if name not in self.inputs]
        return dict(zip(names, self._session.run(names, inputs), strict=True))


def stand_in(*, rtx=False, at_once=False):
    """Return a stand-in for the module tensorrt or tensorrt_rtx, with its `memory` and its `stream`."""
    memory, stream = Memory(), Stream(at_once)

    class Runtime:
        def __init__(self, logger):
            if not isinstance(logger, ILogger):
                raise TypeError("a Runtime needs a logger")
            self._logger = logger

        def deserialize_cuda_engine(self, serialized_engine):
            if not serialized_engine.startswith(MARK):
                self._logger.log(ILogger.ERROR, "no magic tag")
                return None
            onnx = serialized_engine.removeprefix(MARK)
            return ICudaEngine(onnx, memory, stream, lambda text: self._logger.log(ILogger.ERROR, text))

    module = SimpleNamespace(
        __name__="tensorrt_rtx" if rtx else "tensorrt",
        __version__="10.99",
        ILogger=ILogger,
        Runtime=Runtime,
        TensorIOMode=TensorIOMode,
        DataType=DataType,
        memory=memory,
        stream=stream,
    )
    if rtx:
        module.CudaGraphStrategy = CudaGraphStrategy
    return module
