"""Runtimes that use a GPU where one works, and the CPU elsewhere."""

from __future__ import annotations

from abc import abstractmethod

from vsparagon.backends.base import Backend, FrameBackend, PictureBackend
from vsparagon.backends.cuda import gpus
from vsparagon.errors import BackendUnavailable


class EitherBackend(PictureBackend):
    """A runtime on the CPU; `on` returns its GPU form where a GPU works.

    Args:
        place: what it runs on, for people.

    Attributes:
        title: the runtime's name, for people.
    """

    title: str

    def __init__(self, place: str = "CPU") -> None:
        self.place = place

    def default_streams(self, threads: int) -> int:
        return threads

    def on(self, device_id: int) -> Backend:
        if not gpus() and device_id == 0:
            return type(self)("CPU, because there is no NVIDIA GPU")
        trouble = self.trouble_with(device_id)
        if not trouble:
            return self.on_gpu(f"cuda:{device_id}", f"cuda:{device_id} ({gpus()[device_id].name})")
        if device_id:
            raise BackendUnavailable(f"device_id is {device_id}, but {self.title} cannot use it: {trouble}.")
        return type(self)(f"CPU, because {self.title} cannot use the GPU: {trouble}")

    @abstractmethod
    def trouble_with(self, device_id: int) -> str:
        """Return why the runtime cannot compute on a GPU, or "" if it can.

        Raises:
            InvalidInput: there is no GPU of that number.
        """

    @abstractmethod
    def on_gpu(self, device: str, place: str) -> FrameBackend:
        """Return the runtime on a GPU, in which `trouble_with` has found no fault.

        Args:
            device: in torch's notation.
            place: the device, for people.
        """
