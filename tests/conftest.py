"""Settings and fixtures for all tests."""

import gc
import os
import signal
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

# Keep what the tests compile from run to run, but apart from the user's own cache.
os.environ["XDG_CACHE_HOME"] = str(Path(__file__).resolve().parents[1] / ".cache")

# Tests that use ONNX Runtime directly must not send telemetry either.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# One thread of torch's for each of several workers: with more, they would spend their time waiting for one another.
os.environ["OMP_NUM_THREADS"] = "1"

# Background jobs of a shell ignore Ctrl-C, and processes that tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    """Begin with the files that have slow tests, so that no worker is left alone with one of them at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish():
    """Take all that the imported modules hold out of garbage collections, each of which would look through torch."""
    gc.collect()
    gc.freeze()


@cache
def no_cuda() -> str:
    """Return why nothing can run on a GPU here; "" if it can."""
    try:
        from vsparagon.device.gpus import torch_trouble

        return torch_trouble(0)
    except ImportError as error:
        return f"{error.name} is not installed"
    except Exception as error:  # whatever it is, it is the reason
        return str(error)


def pytest_runtest_setup(item):
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)  # whatever an earlier test has left
    if item.get_closest_marker("needs_cuda") and (reason := no_cuda()):
        if os.environ.get("VSPARAGON_REQUIRE_CUDA") == "1":
            pytest.fail(f"VSPARAGON_REQUIRE_CUDA is 1, but: {reason}")
        pytest.skip(f"no GPU: {reason}")
    if item.get_closest_marker("needs_bf16"):
        from vsparagon.backends.openvino.library import computes_bfloat16

        if not computes_bfloat16():
            pytest.skip("this processor does not compute in bfloat16")


@pytest.fixture
def no_gradient():
    """The same random weights each time, and no gradients."""
    torch = pytest.importorskip("torch", reason="the networks are torch modules")
    torch.manual_seed(0)
    with torch.no_grad():
        yield


@pytest.fixture(scope="session")
def real_picture():
    """A photograph as 1,3,H,W float32 in [0, 1]."""
    data = pytest.importorskip("skimage.data", reason="scikit-image brings the photographs")
    return np.ascontiguousarray(data.astronaut().transpose(2, 0, 1)[None] / np.float32(255), np.float32)
