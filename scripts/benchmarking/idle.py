"""OpenVINO that opens networks but never runs them, so that only the filter's own work is left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from vsparagon.backends.base import PictureBackend
from vsparagon.backends.openvino import OpenVINO
from vsparagon.backends.openvino.cpu import OpenVINOCpu
from vsparagon.backends.options import BuildOptions, RunOptions
from vsparagon.backends.session import Session, Slot
from vsparagon.colours.layout import Array
from vsparagon.models.model import Model


class IdleOpenVINO(OpenVINO):
    """The runtime, to take the place of "openvino" in `vsparagon.backends.RUNTIMES`."""

    def cpu(self, why: str = "") -> PictureBackend:
        return _IdleBackend(why)


class _IdleBackend(OpenVINOCpu):
    def open(self, model: Model, build: BuildOptions, run: RunOptions) -> Session[Slot]:
        return _IdleSession(super().open(model, build, run))


class _IdleSession(Session[Slot]):
    def __init__(self, session: Session[Slot]) -> None:
        super().__init__([])
        self.slots, self._session = session.slots, session

    @contextmanager
    def slot(self) -> Iterator[Slot]:
        with self._session.slot() as slot:
            yield _IdleSlot(slot)


class _IdleSlot(Slot):
    def __init__(self, slot: Slot) -> None:
        self.input, self.output, self._slot = slot.input, slot.output, slot

    def run(self) -> None:
        pass

    def write(self, target: Sequence[Array], rows: slice, columns: slice) -> None:
        self._slot.write(target, rows, columns)
