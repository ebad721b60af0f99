"""Open model files: a checkpoint of one of this project's networks, or any super-resolution network as an ONNX file.

An ONNX file does not state its scale or the input sizes it accepts. They are found by shape inference: OpenVINO, which
is always installed, infers the size of the output for several sizes of the input.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from vsparagon.backends.openvino import OpenVINO
from vsparagon.backends.openvino.client import worker_process
from vsparagon.backends.openvino.library import import_trouble, openvino_core
from vsparagon.errors import BackendUnavailable, ModelError, printable, reason_of
from vsparagon.geometry.extension import Sizes
from vsparagon.lookup.receptive_field import LooksAtAll, Unknown, bytes_per_pixel, reach_of
from vsparagon.models.model import Model, own_model, own_options
from vsparagon.models.plan import FURTHEST
from vsparagon.onnx.graph_cache import inference_graph

log = logging.getLogger(__name__)

CHECKPOINTS = (".safetensors", ".pth", ".pt", ".ckpt")
ROOM = 192  # side of an input that any network should accept
STEPS = [step for step in range(1, ROOM) if ROOM % step == 0]  # of sides that a network accepts, besides ROOM itself
POSSIBLE_SCALES = range(1, 17)


def open_model_file(path: Path, cache: Path) -> Model:
    """Return the model in a file.

    Args:
        path: an ONNX file, or a checkpoint that `vsparagon.models.checkpoint.load_generator` reads; the suffix decides.
        cache: cache folder for the graph of a checkpoint.

    Raises:
        ModelError: the file is missing, damaged, or not an image-to-image network.
        InvalidInput: the cache folder cannot be written to.
        BackendUnavailable: OpenVINO is missing, or torch, which reading a checkpoint for the first time needs.
    """
    try:
        path.open("rb").close()
    except (OSError, ValueError) as error:
        raise ModelError(
            f"the model file {path} cannot be read ({getattr(error, 'strerror', None) or error}); "
            "give the path of an .onnx, .safetensors or .pth file."
        ) from error
    path = path.absolute()  # the working directory may change, and other processes may have another
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        return _model(path, name=printable(path.name), checkpoint=None)
    if suffix in CHECKPOINTS:
        return _model(inference_graph(path, cache), name=printable(path.name), checkpoint=path)
    raise ModelError(f"the model file {path} has an unknown suffix; give an .onnx, .safetensors or .pth file.")


def _model(graph: Path, *, name: str, checkpoint: Path | None) -> Model:
    if missing := OpenVINO().missing():
        raise BackendUnavailable(f"the model file {name} is read by OpenVINO on every backend, and {missing}.")
    if import_trouble():
        found: Model = worker_process().call("compute", read_graph, graph, name, checkpoint)
        return found
    return read_graph(graph, name, checkpoint)


def read_graph(graph: Path, name: str, checkpoint: Path | None) -> Model:
    """Return the model in an ONNX file: from the metadata of one of ours, from the inferred shapes of any other.

    Args:
        graph, name, checkpoint: as in `Model`.

    Raises:
        ModelError: the file is damaged, or not an image-to-image network.
    """
    if not _is_onnx(graph):
        raise ModelError(
            f"{graph} is not an ONNX file that can be read: it is damaged, incomplete or of another kind; "
            "download or export it again."
        )
    try:
        network = openvino_core().read_model(graph)
    except RuntimeError as error:
        raise ModelError(f"{graph} is not an ONNX file that can be read: {reason_of(error)}") from error
    info = network.get_rt_info()
    notes = {key: str(value.value) for key, value in info["framework"].items()} if "framework" in info else {}
    if notes.get("form") == "extended":
        if not all(network.inputs[0].partial_shape[axis].is_dynamic for axis in (2, 3)):
            raise ModelError(
                f"{graph} is an extended form with a fixed size, which fits only one frame size; export it without one."
            )
        found = own_model(name, graph, notes, checkpoint=checkpoint)
    else:
        channels, scale, sizes = _signature(network, graph)
        found = Model(
            name=name, scale=scale, graph=graph, checkpoint=checkpoint, channels=channels, sizes=sizes, shift=0
        )
        found = _with_sight(found, network)
        if notes.get("form") == "published":
            options = own_options(graph, notes)
            sight = found.sight if options.is_local else "whole"
            found = replace(found, sight=sight, form="published", parameters=options.parameters)
    return replace(found, is_half=network.inputs[0].element_type.get_type_name() == "f16")


def _is_onnx(path: Path) -> bool:
    """Return whether OpenVINO recognises a file as ONNX; otherwise it would try other readers, some of them noisy."""
    from openvino.frontend import FrontEndManager

    return bool(FrontEndManager().load_by_framework("onnx").supported(path))


def _with_sight(model: Model, network: Any) -> Model:
    """Return the model with `sight` and `bytes_per_pixel` set, as far as its graph reveals them.

    The network is reshaped and its constants are folded, in-place.
    """
    from openvino.passes import ConstantFolding

    network.reshape([1, model.channels, *(model.sizes.fixed or (ROOM, ROOM))])
    ConstantFolding().run_on_model(network)  # fold what the graph computes from the size of its input
    try:
        reach = reach_of(network)
    except LooksAtAll:
        return replace(model, sight="statistics")
    except Unknown as step:
        log.debug("the receptive field of %s is unknown because of its operation %s", model.name, step)
        return model
    if reach > FURTHEST or model.sizes != Sizes():
        return model
    return replace(model, sight=reach, bytes_per_pixel=bytes_per_pixel(network))


def _signature(network: Any, path: Path) -> tuple[int, int, Sizes]:
    """Return channels, scale and accepted input sizes of a network.

    Raises:
        ModelError: it is not a super-resolution network.
    """
    found = f"in: {_described(network.inputs)}; out: {_described(network.outputs)}"
    refused = ModelError(
        f"{path} is not a super-resolution network ({found}); wanted: one input and one output of shape "
        "N,3,height,width or N,1,height,width, float32 or float16, the output an integer number of times as large."
    )
    if len(network.inputs) != 1 or len(network.outputs) != 1:
        raise refused
    port, result = network.inputs[0], network.outputs[0]
    if any(p.element_type.get_type_name() not in ("f32", "f16") or p.partial_shape.rank != 4 for p in (port, result)):
        raise refused
    declared = port.partial_shape
    candidates = [declared[1].get_length()] if declared[1].is_static else [3, 1]
    for channels in candidates:
        if channels not in (1, 3):
            continue
        height, width = (declared[axis].get_length() if declared[axis].is_static else None for axis in (2, 3))
        size = (height or ROOM, width or ROOM)
        if scale := _scale(network, channels, *size):
            is_fixed = height is not None or width is not None  # even of one side: that leaves no choice of tiles
            return channels, scale, Sizes(fixed=size) if is_fixed else _sizes(network, channels, scale)
    raise refused


def _scale(network: Any, channels: int, height: int, width: int) -> int:
    """Return how many times larger the output is; 0 if the network rejects this size or changes the aspect ratio."""
    try:
        network.reshape([1, channels, height, width])
    except RuntimeError:
        return 0
    shape = network.outputs[0].partial_shape
    if not shape.is_static:
        return 0
    return next((s for s in POSSIBLE_SCALES if list(shape.to_shape()) == [1, channels, height * s, width * s]), 0)


def _sizes(network: Any, channels: int, scale: int) -> Sizes:
    """Return the smallest step and the smallest side at which the network keeps its scale."""

    def taken(side: int) -> bool:
        return _scale(network, channels, side, side) == scale

    step = next((step for step in STEPS if all(taken(ROOM + n * step) for n in (1, 3))), ROOM)
    minimum = next((side for side in range(step, ROOM, step) if taken(side)), ROOM)
    return Sizes(step=step, minimum=minimum)


def _described(ports: list[Any]) -> str:
    return ", ".join(f"{p.any_name} {p.partial_shape} {p.element_type.get_type_name()}" for p in ports)
