"""Helpers for tests of engines."""

import os
import signal
import threading
import time

from vsparagon.engines.cache import EngineKey

ENGINE = b"an engine" * 100
KEY = EngineKey(
    model="0f" * 32,
    precision="fp16",
    build=1,
    library="tensorrt 10.8.0",
    gpu="NVIDIA Card",
    capability="8.9",
    driver="580.10",
)

_PROCESS = """
import logging, os, sys
import vapoursynth as vs
from vsparagon.engines.progress import BuildProgress
logging.basicConfig(level=logging.INFO, format="%(message)s")
{before}
clip = vs.core.std.BlankClip(format=vs.YUV420P8, width=320, height=180, length=1)
vs.core.paragon.Upscale(clip, backend=sys.argv[1], cache=sys.argv[2]).get_frame(0)
print("done", flush=True)
"""
STOP_IN_THE_MIDDLE = """
import time
steps = []
def step(self, phase, number):
    steps.append(number)
    if len(steps) == 5:
        print("in the middle", flush=True)
        time.sleep(1000)
    return True
BuildProgress.step = step
"""
TELL_STEPS = """
step = BuildProgress.step
BuildProgress.step = lambda *given: (print("step", flush=True), step(*given))[1]
"""


def building_process(before: str) -> str:
    """Return a program that makes one frame. Its arguments are the backend and the cache folder.

    Args:
        before: code to run first: one of the programs above, or "".
    """
    return _PROCESS.format(before=before)


def interrupt_a_build() -> None:
    """Send Ctrl-C while TensorRT-RTX works: the next report ends the build, and the caller gets KeyboardInterrupt."""
    from vsparagon.engines.build import build_engine, load_library
    from vsparagon.engines.progress import BuildProgress
    from vsparagon.models.generators import create_generator
    from vsparagon.onnx.export import onnx_model

    steps, report = [], BuildProgress.step

    def slow(self: BuildProgress, phase: str, step: int) -> bool:
        steps.append(step)
        if len(steps) == 3:
            threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
            time.sleep(0.5)
        return report(self, phase, step)

    BuildProgress.step = slow
    graph = onnx_model(create_generator("nano"), height=64, width=64).SerializeToString()
    try:
        build_engine(load_library("tensorrt_rtx"), graph, name="nano")
    except KeyboardInterrupt:
        assert 3 <= len(steps) < 40, "the build must end early"
        assert not any(thread.name == "vsparagon-build" for thread in threading.enumerate())
    else:
        raise AssertionError("the build was not interrupted")
