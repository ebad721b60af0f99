"""OpenVINO's CPU plugin, in this process."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from vsparagon.backends.base import PictureBackend
from vsparagon.backends.openvino.library import computes_bfloat16, import_openvino, openvino_core
from vsparagon.backends.openvino.network_base import MIDDLE, anchor_apart, base_apart, take_about_middle
from vsparagon.backends.openvino.one_plane import fold_to_one_plane
from vsparagon.backends.openvino.phases import write_phases
from vsparagon.backends.openvino.quantisation import quantise_convolutions, ranges_of
from vsparagon.backends.openvino.surgery import Rim, narrow, ports, take_shuffle, unseen_rim
from vsparagon.backends.openvino.vectors import are_short, widen
from vsparagon.backends.options import BuildOptions, Precision, RunOptions
from vsparagon.backends.session import Session, Slot, StageSlot, stage_session
from vsparagon.cache import keep_latest
from vsparagon.colours.layout import Array
from vsparagon.errors import BackendFailure, reason_of
from vsparagon.models.model import Model
from vsparagon.models.plan import Plan

if TYPE_CHECKING:
    import openvino

MOST_BLOBS: Final = 100  # compiled networks to keep for each network: one for each size of picture, precision, …


class _OpenVINOSlot(Slot):
    """Room for one frame; the output is 1,channels,scale*H,scale*W."""

    def __init__(self, request: openvino.InferRequest) -> None:
        self._request = request
        self.input = request.get_input_tensor().data
        self.output = request.get_output_tensor().data

    def run(self) -> None:
        _run(self._request)


class _PhasesSlot(_OpenVINOSlot):
    """For a network whose final pixel shuffle has been removed: `write` shuffles, in the copy that it makes anyway.

    The output is 1,H,W,channels*scale*scale, in the order in which the last convolution writes it. Its height and
    width lack the `rim` that the network leaves out.
    """

    def __init__(self, request: openvino.InferRequest, scale: int, rim: Rim) -> None:
        super().__init__(request)
        self.output = self.output[..., : self.input.shape[1] * scale * scale]  # without what `widen` has added
        self._scale, self._rim = scale, rim

    def write(self, target: Sequence[Array], rows: slice, columns: slice) -> None:
        write_phases(self.output[0], self._scale, target, *self._seen(rows, columns))

    def _seen(self, *sides: slice) -> list[slice]:
        """Return where these parts of the whole result lie in the output, in enlarged pixels."""
        missing = self._rim.before * self._scale
        return [slice(side.start - missing, side.stop - missing) for side in sides]


class _AnchorSlot(_PhasesSlot):
    """For a network whose base, repeated pixels, has been removed: `write` adds them in its copy.

    Args:
        about_middle: whether the network takes the picture minus `MIDDLE`.
    """

    def __init__(self, request: openvino.InferRequest, scale: int, rim: Rim, *, about_middle: bool) -> None:
        super().__init__(request, scale, rim)
        self._taken = self.input
        self._about_middle = about_middle
        if about_middle:
            self.input = np.empty_like(self._taken)

    def run(self) -> None:
        if self._about_middle:
            np.subtract(self.input, MIDDLE, out=self._taken)
        super().run()

    def write(self, target: Sequence[Array], rows: slice, columns: slice) -> None:
        first, (height, width) = self._rim.before, self.output.shape[1:3]
        repeated = self.input[0, :, first : first + height, first : first + width]
        write_phases(self.output[0], self._scale, target, *self._seen(rows, columns), repeated=repeated)


class _SplitSlot(_PhasesSlot):
    """For a base and the detail added to it, from two networks. `run` subtracts `MIDDLE` from `input` in place."""

    def __init__(self, base: openvino.InferRequest, detail: openvino.InferRequest, scale: int, rim: Rim) -> None:
        super().__init__(base, scale, rim)
        self._detail = detail
        self._added = detail.get_output_tensor().data
        detail.set_input_tensor(base.get_input_tensor())

    def run(self) -> None:
        self.input -= MIDDLE
        _run(self._detail, self._request)
        self.output += self._added


class _OpenVINOStageSlot(StageSlot):
    def __init__(self, compiled: openvino.CompiledModel, plan: Plan, index: int) -> None:
        self._request = compiled.create_infer_request()
        stage = plan.stages[index]
        self.inputs = {name: self._request.get_tensor(name).data for name in stage.inputs}
        self.outputs = {name: self._request.get_tensor(name).data for name in stage.outputs}

    def run(self) -> None:
        _run(self._request)


class OpenVINOCpu(PictureBackend):
    """OpenVINO in this process, compiled for a static shape and an explicit precision: its default on AMX is bf16."""

    name = "openvino"
    precisions = ("fp32", "bf16", "int8")
    folds = True

    def lacks(self, precision: Precision) -> bool:
        return precision == "bf16" and not computes_bfloat16()

    def open(self, model: Model, build: BuildOptions, run: RunOptions) -> Session[Slot]:
        core, graph = openvino_core(), _graph(model, build.precision)
        try:
            network = core.read_model(graph)
            if model.foldable and model.channels == 1:
                fold_to_one_plane(import_openvino(), network)
            network.reshape([1, model.channels, build.height, build.width])
            parts = _taken_apart(network, model, build)
            content = graph.read_bytes()
            compiled = _compiled(parts.network, content, build.precision, run)
            base = None
            if parts.base:
                base = _compiled(parts.base, content, "fp32", run)
            # One slot more than streams: a frame is copied in or out while the others compute.
            slots = [_slot(parts, compiled, base) for _ in range(run.streams + 1)]
        except RuntimeError as error:
            raise BackendFailure(f"OpenVINO refused {model.name}: {reason_of(error)}") from error
        return Session(slots)

    def open_stages(self, plan: Plan, build: BuildOptions, run: RunOptions) -> list[Session[StageSlot]]:
        core = openvino_core()
        graphs = [plan.graph(index).read_bytes() for index in range(len(plan.stages))]  # the cache may be cleared

        def compile_stage(index: int) -> Any:
            graph = graphs[index]
            try:
                network = core.read_model(graph)
                shapes = plan.input_shapes(index, build.height, build.width)
                network.reshape({name: list(shape) for name, shape in shapes.items()})
                return _compiled(network, graph, build.precision, run)
            except RuntimeError as error:
                raise BackendFailure(
                    f"OpenVINO refused a stage of {plan.checkpoint.name}: {reason_of(error)}"
                ) from error

        # A compiled stage holds its working memory, so the stages of a long plan are compiled each time they run.
        compiled = compile_stage if plan.is_long else cache(compile_stage)

        def slot(index: int) -> StageSlot:
            return _OpenVINOStageSlot(compiled(index), plan, index)

        return [stage_session(plan, run, partial(slot, index)) for index in range(len(plan.stages))]


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """A network without the steps that the copy to the frame does better.

    Attributes:
        network: what is left.
        base: the network's base, as a network of its own; None where it is still inside, or is repeated pixels. With a
            base of its own, both networks take the picture minus `MIDDLE`.
        shuffle: scale of the pixel shuffle removed from its end; 0 if there was none.
        rim: what it leaves out of its result.
        adds_to_repeated: whether its base is repeated pixels, which the copy adds.
        about_middle: whether a network that adds to repeated pixels takes the picture minus `MIDDLE`.
    """

    network: Any
    base: Any
    shuffle: int
    rim: Rim
    adds_to_repeated: bool
    about_middle: bool


def _graph(model: Model, precision: Precision) -> Path:
    if precision != "int8":
        return model.graph
    assert model.quantised is not None  # `vsparagon.backends.choose_precision`
    return model.quantised


def _taken_apart(network: Any, model: Model, build: BuildOptions) -> _Parts:
    openvino = import_openvino()
    ranges = ranges_of(network) if build.precision == "int8" else []
    shuffle = take_shuffle(network, model.scale)
    rounds = build.precision == "bf16" and model.form == "inference" and shuffle > 0
    anchored = shuffle > 0 and anchor_apart(network, shuffle)
    base = None
    if rounds and anchored:
        take_about_middle(openvino, network)
    elif rounds:
        base = base_apart(openvino, network)
    rim = narrow(openvino, network, unseen_rim(model)) if shuffle else Rim()
    if ranges:
        quantise_convolutions(openvino, network, ranges, steps=build.steps)
    elif shuffle and are_short():
        widen(openvino, network)
    if base:
        narrowed = narrow(openvino, base, rim)
        assert narrowed == rim  # the base's last steps look at least as far
        base = ports(openvino, base, channels_last=True)
    return _Parts(
        network=ports(openvino, network, channels_last=shuffle > 0),
        base=base,
        shuffle=shuffle,
        rim=rim,
        adds_to_repeated=anchored,
        about_middle=rounds and anchored,
    )


def _slot(parts: _Parts, compiled: openvino.CompiledModel, base: openvino.CompiledModel | None) -> Slot:
    request = compiled.create_infer_request()
    if parts.adds_to_repeated:
        return _AnchorSlot(request, parts.shuffle, parts.rim, about_middle=parts.about_middle)
    if base is not None:
        return _SplitSlot(base.create_infer_request(), request, parts.shuffle, parts.rim)
    return _PhasesSlot(request, parts.shuffle, parts.rim) if parts.shuffle else _OpenVINOSlot(request)


def _compiled(network: Any, graph: bytes, precision: Precision, run: RunOptions) -> openvino.CompiledModel:
    version = "-".join(import_openvino().__version__.split("-")[:2])  # the rest may contain slashes
    # A folder for each network: OpenVINO 2025.4 confuses networks that differ in their weights alone.
    folder = run.cache / f"openvino-{version}" / hashlib.sha256(graph).hexdigest()[:16]
    options = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        "NUM_STREAMS": str(run.streams),
        "INFERENCE_NUM_THREADS": str(run.threads),
        "ENABLE_CPU_PINNING": "NO",
        "CACHE_DIR": str(folder),
    }
    compiled = openvino_core().compile_model(network, "CPU", options)
    keep_latest(folder, "*.blob", MOST_BLOBS)
    return compiled


def _run(*requests: openvino.InferRequest) -> None:
    """Run networks in parallel and wait for all.

    Raises:
        BackendFailure: OpenVINO failed.
    """
    try:
        for request in requests[1:]:
            request.start_async()
        # infer() instead of start_async() and wait() made the filter 3 to 9 % faster on two cores. Its return value is
        # not used: the slots read the output tensors. share_outputs spares the copy.
        try:
            requests[0].infer(share_outputs=True)
        finally:  # the slot's arrays are in use until the others are done
            for request in requests[1:]:
                request.wait()
    except RuntimeError as error:
        raise BackendFailure(f"OpenVINO failed while running the network: {reason_of(error)}") from error
