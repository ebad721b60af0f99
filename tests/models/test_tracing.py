"""Modules are traced without harm to what other threads do."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

torch = pytest.importorskip("torch", reason="modules are torch's")

from vsparagon.models.tracing import traced  # noqa: E402


class Pausing(torch.nn.Module):
    """Its trace begins, and goes on when it is told to."""

    def __init__(self):
        super().__init__()
        self.begun, self.goes_on = threading.Event(), threading.Event()

    def forward(self, x):
        self.begun.set()
        assert self.goes_on.wait(30)
        return x + 1


def steps(module):
    return [node.op for node in module.graph.nodes]


def test_other_threads_compute_while_a_module_is_traced():
    paused, other = Pausing(), torch.nn.Sequential(torch.nn.Linear(2, 3))
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(traced, paused, ())
        assert paused.begun.wait(30)
        try:
            assert other(torch.zeros(1, 2)).shape == (1, 3)
        finally:
            paused.goes_on.set()
        assert steps(result.result()) == ["placeholder", "call_function", "output"]


def test_modules_are_traced_one_after_the_other():
    usual = torch.nn.Module.__call__
    first, second = Pausing(), Pausing()
    second.goes_on.set()
    with ThreadPoolExecutor(2) as pool:
        results = [pool.submit(traced, first, ())]
        assert first.begun.wait(30)
        results.append(pool.submit(traced, second, ()))
        assert not second.begun.wait(0.3)
        first.goes_on.set()
        assert [steps(result.result()) for result in results] == [["placeholder", "call_function", "output"]] * 2
    assert torch.nn.Module.__call__ is usual
