"""ONNX to a TensorRT engine, with TensorRT 10, 11 or TensorRT-RTX; no GPU is needed by the last to build one."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from vsparagon.errors import BackendFailure, BackendUnavailable

PACKAGES = ("tensorrt", "tensorrt_rtx")


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Sizes of the input that an engine is built for, each height, width in pixels."""

    smallest: tuple[int, int]
    usual: tuple[int, int]
    largest: tuple[int, int]


def import_tensorrt() -> Any:
    """Return TensorRT's module, or else TensorRT-RTX's.

    Raises:
        BackendUnavailable: neither is installed.
    """
    for package in PACKAGES:
        if find_spec(package):
            return import_module(package)
    raise BackendUnavailable(
        "neither tensorrt nor tensorrt_rtx is installed; "
        "pip install 'vsparagon[tensorrt]' or 'vsparagon[tensorrt-rtx]'."
    )


def build_engine(onnx: bytes, profile: Profile) -> bytes:
    """Return a serialised engine, valid for this version of TensorRT, this GPU and this platform alone.

    The network is strongly typed: every layer computes in the type that the ONNX file states. TensorRT 11 knows
    nothing else, and 10 does the same when told so.

    Args:
        onnx: a model with one input N,C,H,W, of which height and width may be dynamic.
        profile: sizes that the engine must take.

    Raises:
        BackendUnavailable: TensorRT is not installed.
        BackendFailure: TensorRT refused the model; the message is what it said.
    """
    trt = import_tensorrt()
    said: list[str] = []

    class Logger(trt.ILogger):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.ERROR:
                said.append(message)

    logger = Logger()
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx):
        errors = [str(parser.get_error(i)) for i in range(parser.num_errors)]
        raise BackendFailure(f"{trt.__name__} cannot read this model: {'; '.join(errors or said)}")
    config = builder.create_builder_config()
    image = network.get_input(0)
    batch, channels = (max(n, 1) for n in tuple(image.shape)[:2])
    sizes = builder.create_optimization_profile()
    sizes.set_shape(
        image.name,
        (batch, channels, *profile.smallest),
        (batch, channels, *profile.usual),
        (batch, channels, *profile.largest),
    )
    config.add_optimization_profile(sizes)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise BackendFailure(f"{trt.__name__} cannot build this model: {'; '.join(said) or 'it gave no reason'}")
    return bytes(engine)
