"""Measure the peak of this machine's processors, by products of float32 matrices in numpy's BLAS."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarking.jobs import Job

SIDE = 2048
PRODUCTS = 5  # per turn; the fastest counts


def opened(job: Job) -> tuple[dict[str, float], Any]:  # noqa: ARG001 -- its threads are in the environment
    """Return no opening figures, and a function that measures one turn, as `multiplications` per second."""
    random = np.random.default_rng(0)
    a, b = (random.random((SIDE, SIDE), np.float32) for _ in range(2))
    product = a @ b

    def turn() -> dict[str, float]:
        seconds = []
        for _ in range(PRODUCTS):
            begin = time.perf_counter()
            np.matmul(a, b, out=product)
            seconds.append(time.perf_counter() - begin)
        return {"multiplications": SIDE**3 / min(seconds)}

    return {}, turn
