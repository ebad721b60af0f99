"""The candidates take turns, one at a time, for several rounds: what else the machine does disturbs all alike."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarking.jobs import Candidate, Settings, job_of
from vsparagon.errors import BackendFailure

SCRIPTS = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, kw_only=True)
class Result:
    """What was measured of a candidate.

    Attributes:
        opening: what its worker said when it was ready.
        turns: what it said in each round.
    """

    candidate: Candidate
    opening: dict[str, float]
    turns: list[dict[str, float]]

    def median(self, key: str) -> float:
        """Return the median over the rounds."""
        return statistics.median(turn[key] for turn in self.turns)

    @property
    def frames_per_second(self) -> float:
        """The median over the rounds."""
        return 1 / self.median("wall")

    def beside(self, other: Result, figure: Callable[[dict[str, float], dict[str, float]], float]) -> float:
        """Return the median over the rounds of a figure of this and another candidate's turns."""
        return statistics.median(figure(own, theirs) for own, theirs in zip(self.turns, other.turns, strict=True))

    def speed_beside(self, other: Result) -> float:
        """Return how many times as many frames a second this one makes."""
        return self.beside(other, lambda own, theirs: theirs["wall"] / own["wall"])


class Worker:
    """A candidate in its own process."""

    def __init__(self, candidate: Candidate, settings: Settings, preloaded: Sequence[str] = ()) -> None:
        self.candidate = candidate
        job = job_of(candidate, settings)
        paths = [str(SCRIPTS), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
        if threads := job["settings"]["threads"]:
            environment["OPENBLAS_NUM_THREADS"] = str(threads)  # for the sgemm
        command = [sys.executable, "-m", "benchmarking.worker", json.dumps(job), *preloaded]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.opening: dict[str, float] = {}

    def open(self) -> None:
        """Let it get ready."""
        self.opening = self.turn()

    def turn(self) -> dict[str, float]:
        """Let it answer once: first when it is ready, then with what it measured."""
        assert self._process.stdin
        with suppress(OSError):  # where it has ended, which reading tells
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _read(self) -> dict[str, float]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            name, size = self.candidate.name, self.candidate.size
            raise BackendFailure(f"{name} at {size} failed; its message is above.")
        facts: dict[str, float] = json.loads(line)
        return facts


def compare(candidates: Sequence[Candidate], settings: Settings, *, preloaded: Sequence[str] = ()) -> list[Result]:
    """Let the candidates take turns; return what was measured, in their order.

    Args:
        candidates: to measure.
        settings: for all.
        preloaded: modules that workers import before they open, one after the other, which saves time where the
            first frame is not what is measured.
    """
    with ExitStack() as stack:
        workers = []
        for candidate in candidates:
            workers.append(Worker(candidate, settings, preloaded))
            stack.callback(workers[-1].close)
        for worker in workers:
            worker.open()
        rounds = [[worker.turn() for worker in workers] for _ in range(settings.rounds)]
    return [
        Result(candidate=worker.candidate, opening=worker.opening, turns=list(turns))
        for worker, turns in zip(workers, zip(*rounds, strict=True), strict=True)
    ]
