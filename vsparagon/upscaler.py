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
        self._size = (0, 0)
        self._pipelines: dict[tuple[int, int], AnyPipeline] = {}  # by planes, and steps of their samples
        self._process = 0  # the one that opened the pipelines

    def __call__(self, picture: npt.NDArray[Sample]) -> npt.NDArray[Sample]:
        """Return the upscaled picture, of the same dtype.

        The network is prepared for the first picture, once for RGB and once for gray, and again whenever the size
        changes, which can take long.

        Args:
            picture: H,W,3 (RGB) or H,W,1 (gray); full-range uint8 or uint16, or float32 of nominal range 0..1.

        Returns:
            scale*H,scale*W and as many planes; integers are rounded and clamped, floats are neither.

        Raises:
            InvalidInput: another shape or dtype, an empty picture, a result of more than 2^28 pixels, or a size that
                the model cannot be run on.
            ModelError, BackendUnavailable: the model cannot be prepared.
            BackendFailure: the runtime failed, or this process is a fork of one that has used this object.
        """
        if not isinstance(picture, np.ndarray):
            raise InvalidInput(f"the picture is {type(picture).__name__}; give a numpy array of height,width,3.")
        if picture.ndim != 3 or picture.shape[2] not in (1, 3) or not picture.size or picture.dtype not in PEAKS:
            raise InvalidInput(
                f"the picture is an array of shape {picture.shape} and dtype {picture.dtype}; "
                "give height,width,3 or height,width,1 of uint8, uint16 or float32, not empty."
            )
        height, width, count = picture.shape
        if height * width * self.scale**2 > MOST_PIXELS:
            raise InvalidInput(
                f"the result of {width * self.scale}x{height * self.scale} has more than the {MOST_PIXELS} pixels that "
                "a picture may have."
            )
        if self._pipelines:
            check_process(self._process)  # closing them would wait for their threads, too
        if self._size != (height, width):
            self._pipelines.clear()  # first, because a device may not have enough memory for both
            self._size = (height, width)
        steps = 255 if picture.dtype == np.uint8 else 0
        if (count, steps) not in self._pipelines:
            self._pipelines[count, steps] = open_pipeline(
                self._choice, height=height, width=width, gray=count == 1, steps=steps
            )
            self._process = os.getpid()
        peak = PEAKS[picture.dtype]
        planes = picture.transpose(2, 0, 1).astype(np.float32)
        planes /= np.float32(peak)
        enlarged: npt.NDArray[np.float32] = np.empty((count, height * self.scale, width * self.scale), np.float32)
        self._pipelines[count, steps].enlarge(list(planes), list(enlarged))
        result = np.empty((*enlarged.shape[1:], count), picture.dtype)
        for channel, plane in enumerate(enlarged):
            if picture.dtype != np.float32:  # in-place, because large pictures may not fit into memory twice
                np.clip(plane, 0.0, 1.0, out=plane)
                np.rint(np.multiply(plane, np.float32(peak), out=plane), out=plane)
            result[..., channel] = plane
        return result
