"""Upscale pictures given as arrays, without VapourSynth."""

from __future__ import annotations

import logging
import os
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from vsparagon.choice import make_choice
from vsparagon.colours.layout import MOST_PIXELS
from vsparagon.errors import InvalidInput, check_integers
from vsparagon.lookup import find_model
from vsparagon.pipelines import AnyPipeline, open_pipeline
from vsparagon.system.forks import check_process

log = logging.getLogger(__name__)

PEAKS = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0, np.dtype(np.float32): 1.0}
Sample = TypeVar("Sample", np.uint8, np.uint16, np.float32)


class Upscaler:
    """Upscales pictures with the same networks and the same result as `core.paragon.Upscale`. Not thread-safe.

    Args:
        variant: of the bundled network: "nano" (default), "micro", …
        scale: enlargement of both sides: 2 (default), 3 or 4 for bundled weights; a model file determines its own.
        profile: what the bundled network was trained on: "clean" (default) or "compressed" video.
        model: path of a model file to use instead of a bundled network; variant and profile must then be left out.
        backend: "auto" or a name in `vsparagon.backends.RUNTIMES`.
        device_id: of a GPU, as CUDA numbers them.
        precision: "auto", "fp32", "fp16", "bf16" or "int8".
        cache: folder for compiled networks; "" for the user's cache folder.

    Attributes:
        scale: enlargement of both sides.

    Raises:
        InvalidInput: an argument is unknown, out of range or does not fit the others.
        ModelError: no weights are bundled for these arguments, or the model file cannot be used.
        BackendUnavailable: the backend is not installed, or the device cannot be used.
    """

    def __init__(
        self,
        variant: str = "",
        scale: int = 0,
        *,
        profile: str = "",
        model: str = "",
        backend: str = "auto",
        device_id: int = 0,
        precision: str = "auto",
        cache: str = "",
    ) -> None:
        check_integers(scale=scale, device_id=device_id)
        found = find_model(variant=variant, scale=scale, profile=profile, model=model, cache=cache)
        self.scale = found.scale
        # One picture at a time, computed by all threads.
        self._choice = make_choice(
            found, backend=backend, device_id=device_id, precision=precision, num_streams=1, cache=cache
        )
        log.info("%s", self._choice)
        self._pipeline: AnyPipeline | None = None
        self._process = 0  # the one that opened the pipeline

    def __call__(self, rgb: npt.NDArray[Sample]) -> npt.NDArray[Sample]:
        """Return the upscaled picture, of the same dtype.

        The network is prepared for the size of the first picture, and again whenever the size changes, which can take
        long.

        Args:
            rgb: H,W,3; full-range uint8 or uint16, or float32 of nominal range 0..1.

        Returns:
            scale*H,scale*W,3; integers are rounded and clamped, floats are neither.

        Raises:
            InvalidInput: another shape or dtype, an empty picture, a result of more than 2^28 pixels, or a size that
                the model cannot be run on.
            ModelError, BackendUnavailable: the model cannot be prepared.
            BackendFailure: the runtime failed, or this process is a fork of one that has used this object.
        """
        if not isinstance(rgb, np.ndarray):
            raise InvalidInput(f"the picture is {type(rgb).__name__}; give a numpy array of height,width,3.")
        if rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size or rgb.dtype not in PEAKS:
            raise InvalidInput(
                f"the picture is an array of shape {rgb.shape} and dtype {rgb.dtype}; "
                "give height,width,3 of uint8, uint16 or float32, not empty."
            )
        height, width = rgb.shape[:2]
        if height * width * self.scale**2 > MOST_PIXELS:
            raise InvalidInput(
                f"the result of {width * self.scale}x{height * self.scale} has more than the {MOST_PIXELS} pixels that "
                "a picture may have."
            )
        pipeline = self._pipeline
        if pipeline is not None:
            check_process(self._process)  # closing it would wait for its threads, too
        if pipeline is None or (pipeline.extension.height, pipeline.extension.width) != (height, width):
            self._pipeline = pipeline = None  # first, because a device may not have enough memory for both
            self._pipeline = pipeline = open_pipeline(self._choice, height=height, width=width)
            self._process = os.getpid()
        peak = PEAKS[rgb.dtype]
        planes = rgb.transpose(2, 0, 1).astype(np.float32)
        planes /= np.float32(peak)
        enlarged: npt.NDArray[np.float32] = np.empty((3, height * self.scale, width * self.scale), np.float32)
        pipeline.enlarge(list(planes), list(enlarged))
        result = np.empty((*enlarged.shape[1:], 3), rgb.dtype)
        for channel, plane in enumerate(enlarged):
            if rgb.dtype != np.float32:  # in-place, because large pictures may not fit into memory twice
                np.clip(plane, 0.0, 1.0, out=plane)
                np.rint(np.multiply(plane, np.float32(peak), out=plane), out=plane)
            result[..., channel] = plane
        return result
