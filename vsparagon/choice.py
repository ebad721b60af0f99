"""The choice of what runs a network: every "auto" of the caller is resolved once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from vsparagon.backends import choose_backend, choose_precision
from vsparagon.backends.base import Backend
from vsparagon.backends.options import Precision, RunOptions
from vsparagon.cache import usable_cache_folder
from vsparagon.errors import InvalidInput
from vsparagon.models.model import Model
from vsparagon.system.machine import usable_threads
from vsparagon.wording import counted

MOST_STREAMS = 64


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What runs a model.

    Attributes:
        model: the network.
        backend: what runs it, on a particular device.
        precision: of its arithmetic.
        options: streams, threads and cache folder.
    """

    model: Model
    backend: Backend
    precision: Precision
    options: RunOptions

    def __str__(self) -> str:
        return (
            f"{self.model.name} on {self.backend.name}, {self.precision}, {self.backend.place}, "
            f"{counted(self.options.threads, 'thread')}, {counted(self.options.streams, 'frame')} at once"
        )


def make_choice(
    model: Model,
    *,
    backend: str = "auto",
    device_id: int = 0,
    precision: str = "auto",
    num_streams: int = 0,
    threads: int = 0,
    cache: str = "",
) -> Choice:
    """Decide what runs the model, once and for all; the caller is to log the decision (`str` of the result).

    Args:
        model: the network.
        backend: a name in `vsparagon.backends.RUNTIMES`, or "auto" or "".
        device_id: of a GPU, as CUDA numbers them; 0 if the backend runs on the CPU.
        precision: "auto" or "", "fp32", "fp16", "bf16" or "int8".
        num_streams: frames at once, up to 64; 0 for the backend's measured default.
        threads: CPU threads to use in all, limited to those that this process may use; 0 for all of them.
        cache: folder for compiled networks; "" for the user's cache folder.

    Raises:
        InvalidInput: an argument is unknown or out of range, or the cache folder cannot be written to.
        BackendUnavailable: the backend is not installed, or the device cannot be used.
    """
    chosen = choose_backend(backend or "auto", device_id, model=model)
    if not 0 <= num_streams <= MOST_STREAMS:
        raise InvalidInput(f"num_streams is {num_streams}; it must be between 0 (default) and {MOST_STREAMS}.")
    usable = usable_threads()
    threads = min(threads or usable, usable)
    options = RunOptions(
        streams=num_streams or chosen.default_streams(threads),
        threads=threads,
        cache=usable_cache_folder(cache),
    )
    return Choice(
        model=model, backend=chosen, precision=choose_precision(chosen, precision or "auto", model), options=options
    )


_notes: dict[int, list[Choice]] = {}  # by id, because equal lists of different callers must stay apart


@contextmanager
def noted_choices() -> Iterator[list[Choice]]:
    """Yield a list that collects the choice for every clip passed to `core.paragon.Upscale` inside the block.

    Calls may overlap; each list then gets the choices of all threads.
    """
    noted: list[Choice] = []
    _notes[id(noted)] = noted
    try:
        yield noted
    finally:
        del _notes[id(noted)]


def note_choice(choice: Choice) -> None:
    """Add the choice for a clip to the list of every `noted_choices` block in progress."""
    for noted in list(_notes.values()):
        noted.append(choice)
