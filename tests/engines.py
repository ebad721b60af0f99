"""Helpers for tests of engines."""

from vsparagon.engines.cache import EngineKey

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
