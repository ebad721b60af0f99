"""Picture in, picture out: extend, run the network, cut back. Knows arrays and backends, not VapourSynth."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vsparagon.backends import choose_backend, choose_precision
from vsparagon.backends.base import Array, Backend, BuildOptions, Precision, RunOptions
from vsparagon.cache import cache_folder
from vsparagon.errors import InvalidInput
from vsparagon.extend import MARGIN, extension_for
from vsparagon.library import Model
from vsparagon.tiling import AxisTiles, overlapping_tiles

SMALLEST = 16
TILE_OVERLAP = 32
MOST_STREAMS = 64

Plane = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """What was chosen to run a model on: the answer to every "auto" of the caller.

    Attributes:
        model, backend, precision: what runs, where, in which arithmetic.
        options: how it is run.
    """

    model: Model
    backend: Backend
    precision: Precision
    options: RunOptions

    def __str__(self) -> str:
        return (
            f"{self.model.name} on {self.backend.name}, {self.precision}, {self.options.threads} threads, "
            f"{self.options.streams} frames at once"
        )


def choose_runtime(
    model: Model,
    *,
    backend: str = "auto",
    device_id: int = 0,
    precision: str = "auto",
    num_streams: int = 0,
    threads: int = 0,
    cache: str = "",
) -> Runtime:
    """Decide once what runs the model; the caller says so in its log.

    Args:
        model: the network.
        backend: a name in `vsparagon.backends.BACKENDS`, or "auto".
        device_id: of a GPU.
        precision: "auto", "fp32", "fp16" or "bf16".
        num_streams: frames at once; 0 for the backend's measured default.
        threads: CPU threads to use in all; 0 for all cores.
        cache: folder for compiled networks; "" for the user's cache folder.

    Raises:
        InvalidInput: an argument is unknown or out of range.
        BackendUnavailable: the backend is not installed.
    """
    chosen = choose_backend(backend)
    if device_id != 0:
        raise InvalidInput(
            f"device_id is {device_id}; the backend {chosen.name!r} runs on the CPU and has only device 0."
        )
    if not 0 <= num_streams <= MOST_STREAMS:
        raise InvalidInput(f"num_streams is {num_streams}; it must be 0 (choose) to {MOST_STREAMS}.")
    cores = os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count()
    threads = min(threads, cores or 1) if threads else cores or 1
    options = RunOptions(
        device_id=device_id,
        streams=num_streams or chosen.default_streams(threads),
        threads=threads,
        cache=cache_folder(cache),
    )
    return Runtime(model=model, backend=chosen, precision=choose_precision(chosen, precision), options=options)


class Pipeline:
    """A model opened for pictures of one size. `enlarge` may be called from several threads.

    A network of fixed size is run on overlapping tiles of the extended picture where that is larger. A network for
    one plane is run on red, green and blue in turn.

    Args:
        runtime: what to run.
        height, width: of the pictures, at least 16 each.

    Attributes:
        in_flight: calls of `enlarge` that make progress at once; more of them wait.

    Raises:
        InvalidInput: the pictures are too small.
        BackendFailure: the runtime refused the model.
    """

    def __init__(self, runtime: Runtime, *, height: int, width: int) -> None:
        if min(height, width) < SMALLEST:
            raise InvalidInput(
                f"the picture is {width}x{height}; at least {SMALLEST}x{SMALLEST} is needed. "
                "Add borders or enlarge it otherwise."
            )
        model = runtime.model
        self.scale = model.scale
        self.extension = extension_for(height, width, model.sizes)
        whole = (self.extension.extended_height, self.extension.extended_width)
        tile = model.sizes.fixed or whole
        build = BuildOptions(height=tile[0], width=tile[1], precision=runtime.precision)
        self._session = runtime.backend.open(model, build, runtime.options)
        self.in_flight = self._session.slots
        first = MARGIN * model.scale - model.shift
        self._result = (slice(first, first + height * model.scale), slice(first, first + width * model.scale))
        self._planes = [slice(first, first + model.channels) for first in range(0, 3, model.channels)]
        self._tiles = None if tile == whole else (self._axis(whole[0], tile[0]), self._axis(whole[1], tile[1]))

    def _axis(self, pixels: int, size: int) -> AxisTiles:
        return overlapping_tiles(pixels, size=size, overlap=min(TILE_OVERLAP, size // 2), scale=self.scale)

    def enlarge(self, source: Sequence[Plane], target: Sequence[Plane]) -> None:
        """Write the enlarged picture.

        Args:
            source: red, green and blue, each H,W, nominal range 0..1.
            target: the same, each scale*H,scale*W; written, not clamped.

        Raises:
            BackendFailure: the runtime failed.
        """
        for planes in self._planes:
            if self._tiles is None:
                self._enlarge_whole(source[planes], target[planes])
            else:
                self._enlarge_tiles(source[planes], target[planes], *self._tiles)

    def _enlarge_whole(self, source: Sequence[Plane], target: Sequence[Plane]) -> None:
        with self._session.slot() as slot:
            self._extend(source, slot.input[0])
            slot.run()
            slot.write(target, *self._result)

    def _enlarge_tiles(
        self, source: Sequence[Plane], target: Sequence[Plane], rows: AxisTiles, columns: AxisTiles
    ) -> None:
        shape = (len(source), self.extension.extended_height, self.extension.extended_width)
        extended, scale = np.empty(shape, np.float32), self.scale
        blended = np.zeros((shape[0], shape[1] * scale, shape[2] * scale), np.float32)
        self._extend(source, extended)
        with self._session.slot() as slot:
            height, width = slot.input.shape[2:]
            tile = np.empty((shape[0], height * scale, width * scale), np.float32)
            for y, down in zip(rows.starts, rows.weights, strict=True):
                for x, across in zip(columns.starts, columns.weights, strict=True):
                    slot.input[0] = extended[:, y : y + height, x : x + width]
                    slot.run()
                    slot.write(list(tile), slice(0, height * scale), slice(0, width * scale))
                    place = blended[:, y * scale : (y + height) * scale, x * scale : (x + width) * scale]
                    place += tile * down[:, None] * across
        for plane, result in zip(target, blended, strict=True):
            plane[:] = result[self._result]

    def _extend(self, source: Sequence[Plane], extended: Array) -> None:
        for plane, given in zip(self.extension.picture(extended), source, strict=True):
            plane[:] = given
        self.extension.fill(extended)
