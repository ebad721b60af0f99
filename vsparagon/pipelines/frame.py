"""Upscale frames on a device: the counterpart of `vsparagon.pipelines.picture`. Independent of VapourSynth."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

from torch import nn

from vsparagon.backends.base import FrameBackend
from vsparagon.backends.frame_session import FrameSession
from vsparagon.backends.options import Precision
from vsparagon.choice import Choice
from vsparagon.colours.layout import BT709, AnyPlane, Layout
from vsparagon.device.failures import device_errors
from vsparagon.device.lanes import QUEUING, Lanes, release_memory
from vsparagon.errors import InvalidInput, OutOfDeviceMemory
from vsparagon.geometry.extension import extension_for
from vsparagon.geometry.tiling import ExactTiles, exact_tiles_of, tile_counts
from vsparagon.models.checkpoint import load_generator
from vsparagon.models.frame import FrameNetwork
from vsparagon.models.half import half_form
from vsparagon.models.inference import inference_form
from vsparagon.models.model import Model
from vsparagon.tiles.choice import TileChoice
from vsparagon.tiles.planning import exact_tiling

log = logging.getLogger(__name__)

# Source and result of a picture whose colours are not converted on the device: of one plane, and of RGB.
GRAY = Layout(family="gray", bits=32, is_float=True, matrix=BT709)
RGB = Layout(family="rgb", bits=32, is_float=True)
FRAMES_PER_LANE = 3  # one computed on the device, one queued behind it, one being copied on the CPU
RETRIED_TILES = 8  # least number of tiles when a whole frame needs too much memory

Tiles = tuple[ExactTiles, ExactTiles]


class FramePipeline:
    """A model opened on a device for frames of one size. Thread-safe.

    Args:
        choice: what to run; its backend must be a `FrameBackend`.
        height, width: of the source frames, in pixels.
        tiles: the caller's choice of tiles; None for whole frames.
        gray: whether `enlarge` takes single planes instead of RGB.

    Attributes:
        scale: enlargement of both sides.
        extension: of the source frames.
        in_flight: calls of `enlarge` that make progress at once; further calls wait.
        converts_colours: True: frames keep their own format and colours, which the device converts.

    Raises:
        InvalidInput: the model cannot be run in the requested tiles.
        ModelError: the checkpoint cannot be read, or the ONNX graph cannot be embedded in a frame graph.
    """

    converts_colours: ClassVar[Literal[True]] = True

    def __init__(
        self, choice: Choice, *, height: int, width: int, tiles: TileChoice | None = None, gray: bool = False
    ) -> None:
        assert isinstance(choice.backend, FrameBackend)
        self._backend, self._model, self._options = choice.backend, choice.model, choice.options
        self.scale = choice.model.scale
        self._plain = GRAY if gray or choice.model.channels == 1 else RGB
        lanes, threads = self._options.streams, self._options.threads
        self.in_flight = max(lanes, min(FRAMES_PER_LANE * lanes, threads))  # each frame occupies a VapourSynth thread
        self.extension = extension_for(height, width, choice.model.sizes)
        self._tiles = self._wanted_tiles(tiles or TileChoice())
        self._network = network_of(choice.model, choice.precision)
        self._lock = threading.Lock()
        self._lanes: dict[str, Lanes] = {}
        self._sessions: dict[tuple[Layout, Layout], FrameSession] = {}

    def enlarge(self, source: Sequence[AnyPlane], target: Sequence[AnyPlane]) -> None:
        """Upscale a float32 picture, as `vsparagon.pipelines.picture.PicturePipeline` does.

        Args:
            source: red, green and blue, or a single plane; each H,W, nominal range 0..1.
            target: as many planes, each scale*H,scale*W, to write to; not clamped.

        Raises:
            OutOfDeviceMemory: the device does not have enough memory even for a frame in tiles.
            BackendFailure: the runtime or the device failed.
        """
        session, planes = self._plain_session(), self._plain.planes
        for first in range(0, len(source), planes):
            session.enlarge(source[first : first + planes], target[first : first + planes])

    def open_pictures(self) -> Callable[[Sequence[AnyPlane], Sequence[AnyPlane]], None]:
        """Return `enlarge` after opening what it needs, which otherwise happens on its first call.

        Raises:
            OutOfDeviceMemory: the device does not have enough memory even for a frame in tiles.
            BackendFailure: the runtime refused the network.
        """
        self._plain_session()
        return self.enlarge

    def open_frames(self, source: Layout, target: Layout) -> Callable[[Sequence[AnyPlane], Sequence[AnyPlane]], None]:
        """Return the function that upscales frames of one layout to another, and converts their colours on the device.

        Raises:
            OutOfDeviceMemory: the device does not have enough memory even for a frame in tiles.
            BackendFailure: the runtime refused the network.
        """
        return self._session(source, target).enlarge

    def _plain_session(self) -> FrameSession:
        return self._session(self._plain, self._plain)

    def _session(self, source: Layout, target: Layout) -> FrameSession:
        """Return the session for frames of these layouts, opened on the first call."""
        with self._lock:
            if (source, target) not in self._sessions:
                self._sessions[source, target] = self._opened(source, target)
            return self._sessions[source, target]

    def _opened(self, source: Layout, target: Layout) -> FrameSession:
        self._release()
        try:
            return self._open(source, target)
        except OutOfDeviceMemory as error:
            smaller = self._smaller_tiles()
            if smaller is None:
                raise
            message = str(error)
        # Outside the except block, because the traceback keeps the allocated tensors alive.
        self._release()
        count = len(smaller[0].parts) * len(smaller[1].parts)
        log.warning("%s Trying once more with each frame in %d tiles.", message, count)
        self._tiles = smaller
        return self._open(source, target)

    def _release(self) -> None:
        """Give back the memory that torch caches: libraries with their own allocator cannot use it."""
        with QUEUING, device_errors(self._backend.place):
            release_memory()

    def _open(self, source: Layout, target: Layout) -> FrameSession:
        frame = FrameNetwork(
            self._network,
            self.scale,
            source=source,
            target=target,
            extension=self.extension,
            tiles=self._tiles,
            name=self._model.name,
        ).eval()
        backend, inputs, outputs = self._backend, frame.inputs(), frame.outputs()
        key = repr((inputs, outputs))  # layouts whose planes have the same shapes and types share lanes
        if key not in self._lanes:
            self._lanes[key] = Lanes(
                backend.device,
                backend.place,
                count=self._options.streams,
                in_flight=self.in_flight,
                inputs=inputs,
                outputs=outputs,
            )
        with device_errors(backend.place):
            graph = backend.prepare(frame, self._options)
        return FrameSession(backend, graph, self._lanes[key])

    def _wanted_tiles(self, choice: TileChoice) -> Tiles | None:
        """Return the requested tiles; None for whole frames, which are the default on a device and fastest."""
        if not (choice.size or choice.memory_mb):
            return None
        extension = self.extension
        whole = extension.extended_height * extension.extended_width
        tiling = exact_tiling(choice, self._model, extension, streams=self._options.streams, area=whole)
        if tiling is None:
            raise InvalidInput(
                f"{self._model.name} cannot be run in tiles on {self._backend.place}; "
                "leave tilesize= and memory_mb= out."
            )
        tiles = (tiling.rows, tiling.columns)
        return None if all(len(axis.parts) == 1 for axis in tiles) else tiles

    def _smaller_tiles(self) -> Tiles | None:
        """Return tiles that need far less memory than the last attempt; None if the model cannot be tiled exactly."""
        extension, reach = self.extension, self._model.reach
        if reach is None:
            return None
        area = extension.height * extension.width
        if self._tiles:
            area = self._tiles[0].size * self._tiles[1].size
        counts = tile_counts(extension.height, extension.width, reach=reach, area=area // RETRIED_TILES)
        return exact_tiles_of(extension, reach, *counts)


def network_of(model: Model, precision: Precision) -> nn.Module:
    """Return the module, on the CPU, that upscales a model's frames: float32, N,3,H,W to N,3,scale*H,scale*W.

    Args:
        model: if it has a checkpoint, its inference form is returned, else its ONNX graph as a module that cannot be
            run, only exported.
        precision: of a checkpoint's network: "fp16" keeps float32 where it is needed, any other is float32. A graph
            keeps its own types.

    Raises:
        ModelError: the checkpoint cannot be read, or the graph cannot be embedded in a frame graph.
    """
    if model.checkpoint is None:
        from vsparagon.onnx.foreign import ForeignNetwork, OnePlaneNetwork

        foreign = ForeignNetwork(model.graph, shift=model.shift)
        return OnePlaneNetwork(foreign) if model.channels == 1 else foreign
    generator = load_generator(model.checkpoint)
    return half_form(generator) if precision == "fp16" else inference_form(generator)
