"""Let the candidates take turns for several rounds, so that other load on the machine affects all of them alike."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarking.jobs import Candidate, Settings, job_of
from vsparagon.errors import BackendFailure

SCRIPTS = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, kw_only=True)
class Result:
    """The figures of a candidate.

    Attributes:
        candidate: the candidate.
        openings: figures of each time that it was opened.
        turns: figures of each round.
    """

    candidate: Candidate
    openings: list[dict[str, float]]
    turns: list[dict[str, float]]

    def median(self, key: str) -> float:
        """Return the median of a figure over the rounds."""
        return statistics.median(turn[key] for turn in self.turns)

    def opening(self, key: str) -> float:
        """Return the median of a figure over the openings."""
        return statistics.median(opening[key] for opening in self.openings)

    @property
    def frames_per_second(self) -> float:
        """Frames per second, from the median time over the rounds."""
        return 1 / self.median("wall")

    def beside(self, other: Result, figure: Callable[[dict[str, float], dict[str, float]], float]) -> float:
        """Return the median over the rounds of a figure that is computed from this and another candidate's turn."""
        return statistics.median(figure(own, theirs) for own, theirs in zip(self.turns, other.turns, strict=True))

    def speed_beside(self, other: Result) -> float:
        """Return this candidate's speed as a multiple of the other's."""
        return self.beside(other, lambda own, theirs: theirs["wall"] / own["wall"])


class Worker:
    """A candidate in its own process, which starts at once.

    Args:
        candidate: to measure.
        settings: common to all candidates.
        preloaded: modules that the process imports before it opens the candidate.

    Attributes:
        candidate: as above.
    """

    def __init__(self, candidate: Candidate, settings: Settings, preloaded: Sequence[str] = ()) -> None:
        self.candidate = candidate
        job = job_of(candidate, settings)
        paths = [str(SCRIPTS), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = usual_environment() | {"PYTHONPATH": os.pathsep.join(paths)}
        if threads := job["settings"]["threads"]:
            environment["OPENBLAS_NUM_THREADS"] = str(threads)  # for the sgemm
        command = [sys.executable, "-m", "benchmarking.worker", json.dumps(job), *preloaded]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def turn(self) -> dict[str, float]:
        """Ask the process for one answer: first the opening figures, then those of one turn each.

        Raises:
            BackendFailure: the process failed.
        """
        assert self._process.stdin
        with suppress(OSError):  # if the process has ended, reading reports it
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


def usual_environment() -> dict[str, str]:
    """Return the environment, in which Python may write bytecode: an installed package has some, and loads faster."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def compare(
    candidates: Sequence[Candidate], settings: Settings, *, preloaded: Sequence[str] = (), reopened: bool = False
) -> list[Result]:
    """Let the candidates take turns, and return their results in order.

    Args:
        candidates: to measure.
        settings: common to all of them.
        preloaded: modules that all workers import at once, before they open one after the other. It saves time, but
            spoils the time to the first frame.
        reopened: whether each round also opens every candidate in a new process, for the sake of the opening figures.
            The first opening alone would count the time to read libraries from the disk.

    Raises:
        BackendFailure: a candidate failed.
    """
    with ExitStack() as stack:
        workers = []
        for candidate in candidates:
            workers.append(Worker(candidate, settings, preloaded))
            stack.callback(workers[-1].close)
        openings = [[worker.turn()] for worker in workers]
        turns: list[list[dict[str, float]]] = [[] for _ in workers]
        for _ in range(settings.rounds):
            for worker, own in zip(workers, turns, strict=True):
                own.append(worker.turn())
            if not reopened:
                continue
            _opening(candidates[0], settings)  # the turns may have pushed the libraries' files out of memory
            for candidate, own in zip(candidates, openings, strict=True):
                if own[0]:  # some have nothing to tell
                    own.append(_opening(candidate, settings))
    return [
        Result(candidate=candidate, openings=opened, turns=measured)
        for candidate, opened, measured in zip(candidates, openings, turns, strict=True)
    ]


def _opening(candidate: Candidate, settings: Settings) -> dict[str, float]:
    with closing(Worker(candidate, settings)) as worker:
        return worker.turn()
