"""Find the networks to measure, and what can run them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

from benchmarking.jobs import Candidate, Size
from vsparagon.backends import choose_backend
from vsparagon.backends.base import FrameBackend
from vsparagon.errors import BackendUnavailable, InvalidInput
from vsparagon.lookup import find_model
from vsparagon.models.model import Model
from vsparagon.system.files import distinct_names

ONLY_LUMA: Final = ", luma only"


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network to measure.

    Attributes:
        name: for the table.
        model: the network.
        arguments: of the filter, to choose it.
    """

    name: str
    model: Model
    arguments: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Run:
    """A network on a backend in a precision, the latter two by their names.

    Attributes:
        network, backend, precision: as above.
        chroma: what upscales it.
    """

    network: Network
    backend: str
    precision: str
    chroma: str = "network"

    @property
    def name(self) -> str:
        """Name for the table."""
        return f"{self.network.name}, {self.backend} {self.precision}" + ONLY_LUMA * (self.chroma == "resizer")

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of the filter."""
        given = self.network.arguments | {"backend": self.backend, "precision": self.precision}
        return given | ({"chroma": "resizer"} if self.chroma == "resizer" else {})


def find_networks(variants: Sequence[str], files: Sequence[str], scale: int) -> list[Network]:
    """Return bundled networks, followed by those in model files.

    Args:
        variants: names of bundled networks.
        files: paths of model files.
        scale: which all of them must have.

    Raises:
        InvalidInput: none are given, two have the same name, or a file has another scale.
        ModelError: a network does not exist or cannot be read.
    """
    found = [
        Network(
            name=variant,
            model=find_model(variant=variant, scale=scale),
            arguments={"variant": variant},
        )
        for variant in variants
    ]
    for file, name in distinct_names(map(Path, files)).items():
        model = find_model(model=str(file))
        if model.scale != scale:
            raise InvalidInput(f"{file} enlarges {model.scale} times, not {scale}; give --scale {model.scale}.")
        found.append(Network(name=name, model=model, arguments={"model": str(file)}))
    names = [network.name for network in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise InvalidInput(f"two networks are called {', '.join(sorted(twice))}; give their files other names.")
    if not found:
        raise InvalidInput("there is nothing to measure; name --variants, --models or both.")
    return found


def find_runs(
    networks: Sequence[Network],
    backends: Sequence[str],
    precisions: Sequence[str],
    *,
    chroma: Sequence[str] = ("network",),
    gpu: int | None = None,
) -> list[Run]:
    """Return every network on every backend in every precision; impossible combinations are reported and left out.

    Args:
        networks: to run.
        backends: names of backends.
        precisions: names of precisions; "auto" is each backend's own choice.
        chroma: what upscales it, as in the filter.
        gpu: number of the GPU to run on; None for the CPU.

    Raises:
        InvalidInput: no backend has any of the precisions, or there is no backend of a name.
        BackendUnavailable: a backend cannot be used, or does not run on that kind of device.
    """
    pairs = list(dict.fromkeys(_pairs(backends, precisions, gpu)))
    if not pairs:
        raise InvalidInput(f"none of {', '.join(backends)} computes in {', '.join(precisions)}.")
    runs = [
        Run(network=network, backend=name, precision=precision, chroma=way)
        for network, (name, precision), way in product(networks, pairs, chroma)
    ]
    return [run for run in runs if has_precision(run.network.name, run.network.model, run.precision)]


def has_precision(name: str, model: Model, precision: str) -> bool:
    """Return whether a network has weights for a precision; if not, report it on stderr."""
    if precision != "int8" or model.quantised:
        return True
    print(f"{Path(sys.argv[0]).stem}: {name} was not trained for int8; that is left out", file=sys.stderr)
    return False


def _pairs(backends: Sequence[str], precisions: Sequence[str], gpu: int | None) -> Iterator[tuple[str, str]]:
    for name, wanted in product(backends, precisions):
        backend = choose_backend(name, gpu or 0)
        if isinstance(backend, FrameBackend) != (gpu is not None):
            advice = "name another backend" if gpu is not None else "give --device cuda, or name another backend"
            raise BackendUnavailable(f"the backend {name} runs on {backend.place}; {advice}.")
        if wanted == "auto":
            yield backend.name, backend.precisions[0]
        elif wanted in backend.usable_precisions():
            yield backend.name, wanted
        else:
            print(f"benchmark: {name} on {backend.place} has no {wanted}; that is left out", file=sys.stderr)


def filter_candidate(run: Run, size: Size, *, streams: int = 0, threads: int = 0) -> Candidate:
    """Return the filter as a candidate.

    Args:
        run: what it runs.
        size: of the source.
        streams: value of `num_streams`; 0 for the default.
        threads: that VapourSynth may use; 0 for those of the settings.
    """
    name = f"vsparagon {run.name}"
    name += (f", {streams} streams" if streams else "") + (f", {threads} threads" if threads else "")
    facts = {"network": run.network.name, "backend": run.backend, "precision": run.precision, "chroma": run.chroma}
    return Candidate(
        name=name,
        kind="paragon",
        size=size,
        arguments=run.arguments | {"num_streams": streams},
        threads=threads,
        facts=facts | {"streams": streams, "threads": threads},
    )
