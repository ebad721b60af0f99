"""ONNX Runtime's CUDA provider, which reads and writes a lane's tensors in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from vsparagon.backends.base import FrameBackend
from vsparagon.backends.onnxruntime.library import onnxruntime_module
from vsparagon.backends.options import RunOptions
from vsparagon.device.executor import Executor
from vsparagon.device.gpus import cached_unless_out_of_memory
from vsparagon.errors import BackendFailure, reason_of, runtime_failure

if TYPE_CHECKING:
    import torch

    from vsparagon.models.frame import FrameNetwork


CUDA: Final = "CUDAExecutionProvider"
# By default, where a provider fails, InferenceSession tries the CPU and prints that to standard output, which may carry
# the video.
NO_SECOND_TRY: Final = {"enable_fallback": 0}
NOT_LOADED: Final = (
    "its CUDA provider cannot be loaded (the reason is on standard error); install cuDNN, and the onnxruntime-gpu for "
    "the CUDA version of your torch"
)


class OnnxRuntimeCuda(FrameBackend):
    """ONNX Runtime on one GPU."""

    name = "onnxruntime"
    precisions = ("fp16", "fp32")

    def prepare(self, frame: FrameNetwork, run: RunOptions) -> bytes:
        from vsparagon.onnx.export import frame_onnx

        data: bytes = frame_onnx(frame).SerializeToString(deterministic=True)
        return data

    def open_executor(
        self, graph: bytes, inputs: dict[str, torch.Tensor], outputs: dict[str, torch.Tensor]
    ) -> Executor:
        executor = OnnxRuntimeExecutor(graph, inputs, outputs)
        executor.enqueue()  # chooses kernels
        executor.enqueue()  # allocates at once what the first run allocated piece by piece
        return executor


class OnnxRuntimeExecutor(Executor):
    """A session for one lane alone, because a session is tied to one stream."""

    def __init__(self, graph: bytes, inputs: dict[str, torch.Tensor], outputs: dict[str, torch.Tensor]) -> None:
        onnxruntime = onnxruntime_module()
        self._tensors = inputs | outputs  # keeps them alive: the library knows only their addresses
        provider, choices = _provider(next(iter(inputs.values())).device)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if provider == CUDA:  # fail on a node that it cannot run, instead of copying to the CPU and back
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        self._run_options = onnxruntime.RunOptions()
        self._run_options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        try:
            self._session = onnxruntime.InferenceSession(
                graph, options, providers=[(provider, choices)], **NO_SECOND_TRY
            )
        except Exception as error:  # the library's own exceptions share no narrower base
            raise runtime_failure(f"ONNX Runtime refused the network on {provider}: {reason_of(error)}") from error
        if self._session.get_providers()[0] != provider:
            raise BackendFailure(f"ONNX Runtime fell back to the CPU: {NOT_LOADED}.")
        self._binding = self._session.io_binding()
        for bind, tensors in ((self._binding.bind_input, inputs), (self._binding.bind_output, outputs)):
            for name, tensor in tensors.items():
                bind(
                    name, tensor.device.type, tensor.device.index or 0, _dtype(tensor), tensor.shape, tensor.data_ptr()
                )

    def enqueue(self) -> None:
        try:
            self._session.run_with_iobinding(self._binding, self._run_options)
        except Exception as error:  # the library's own exceptions share no narrower base
            raise runtime_failure(f"ONNX Runtime failed while running the network: {reason_of(error)}") from error


def _provider(device: torch.device) -> tuple[str, dict[str, str]]:
    """Return the provider for a device, and its options."""
    import torch

    if device.type == "cpu":
        return "CPUExecutionProvider", {}
    stream = torch.cuda.current_stream(device).cuda_stream
    assert stream, "ONNX Runtime takes the default stream for none and works on one of its own"
    return CUDA, {
        "device_id": str(device.index),
        "user_compute_stream": str(stream),
        "use_tf32": "0",  # it would round float32, and with it the colours, to 10 bits
        "arena_extend_strategy": "kSameAsRequested",
    }


def _dtype(tensor: torch.Tensor) -> np.dtype[Any]:
    if not tensor.is_contiguous():
        raise BackendFailure("ONNX Runtime needs contiguous planes.")
    return np.dtype(str(tensor.dtype).removeprefix("torch."))


@cached_unless_out_of_memory
def provider_trouble(device_id: int) -> str:
    """Return why ONNX Runtime's CUDA provider cannot compute on a GPU that torch can use, or "" if it can."""
    from onnx import TensorProto, helper

    from vsparagon.device.lanes import QUEUING

    onnxruntime = onnxruntime_module()
    if CUDA not in onnxruntime.get_available_providers():
        return 'it was built for the CPU only; pip uninstall onnxruntime, then pip install "vsparagon[onnxruntime-gpu]"'
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    model = helper.make_model(
        helper.make_graph([helper.make_node("Abs", ["x"], ["y"])], "probe", [x], [y]),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )
    with QUEUING:  # the end of a session waits for the device, which would break a capture
        try:
            session = onnxruntime.InferenceSession(
                model.SerializeToString(), providers=[(CUDA, {"device_id": str(device_id)})], **NO_SECOND_TRY
            )
            if session.get_providers()[0] != CUDA:
                return NOT_LOADED
            session.run(None, {"x": np.ones(1, np.float32)})
            del session
        except Exception as error:  # the library's own exceptions share no narrower base
            return reason_of(error)
    return ""
