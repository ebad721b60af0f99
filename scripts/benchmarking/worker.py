"""Measure one candidate in a process of its own: `python -m benchmarking.worker JOB MODULE...`.

JOB is JSON. The process imports the modules, and then answers each line on standard input with a line of JSON on
standard output: the first when it is ready, the others when it has measured one turn.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from benchmarking.jobs import Job, job_from

Facts = dict[str, float]
Turn = Callable[[], Facts]  # measures one turn

# Kind of job -> module whose function `opened` takes the job and returns its opening figures and its `Turn`.
LOADS = {
    **dict.fromkeys(
        (
            "zimg", "zimg_float", "znedi3", "vs_mlrt",
            "paragon", "paragon_float_rgb", "paragon_without_network",
        ),
        "benchmarking.clip_load",
    ),
    "sgemm": "benchmarking.sgemm_load",
    **dict.fromkeys(("graph", "torch_graph", "bus", "device_memory"), "benchmarking.device_loads"),
}  # fmt: skip


def opened(job: Job) -> tuple[Facts, Turn]:
    """Open the load of a job, and return its opening figures and a function that measures one turn."""
    load: Callable[[Job], tuple[Facts, Turn]] = import_module(LOADS[job.kind]).opened
    return load(job)


def serve(job: Job, answer: Callable[[Any], None]) -> None:
    """Open the load at the first line of standard input, and measure one turn at each further line."""
    if not sys.stdin.readline():
        return
    facts, turn = opened(job)
    answer(facts)
    for _ in sys.stdin:
        answer(turn())


def main() -> None:
    job = job_from(json.loads(sys.argv[1]))
    for module in sys.argv[2:]:
        import_module(module)
    # Plugins and runtimes that print would mix with the answers, so redirect their output to standard error.
    with os.fdopen(os.dup(1), "w", buffering=1) as answers:
        os.dup2(2, 1)
        try:
            serve(job, lambda facts: print(json.dumps(facts), file=answers))
        except Exception as error:
            if not _is_expected(error):
                raise
            sys.exit(f"benchmark: {error}")


def _is_expected(error: Exception) -> bool:
    """Return whether the message alone says what is wrong, without a traceback."""
    from vsparagon.errors import ParagonError

    vapoursynth = sys.modules.get("vapoursynth")
    return isinstance(error, ParagonError) or (vapoursynth is not None and isinstance(error, vapoursynth.Error))


if __name__ == "__main__":
    main()
