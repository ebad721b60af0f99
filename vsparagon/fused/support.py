"""Check whether our kernels can be used. Imports Triton only if it is installed."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Final

import numpy as np
import torch

from vsparagon.colours.resampling import Kernels
from vsparagon.device.failures import lack_of_memory
from vsparagon.errors import first_line_of
from vsparagon.models.frame import FrameNetwork
from vsparagon.models.half import HalfForm

OLDEST: Final = (8, 0)  # compute capability; Triton does not support matrix products on older GPUs


def trouble_with_kernels(frame: FrameNetwork, device: torch.device) -> str:
    """Return why our kernels cannot run a frame graph on a GPU, "" if they can; locking as in `trouble_with_triton`."""
    return trouble_with_graph(frame) or trouble_with_triton(device)


def trouble_with_attention(frame: FrameNetwork, device: torch.device) -> str:
    """Return why our kernel cannot run a frame graph's attention on a GPU, "" if it can; see `trouble_with_triton`."""
    if not find_spec("triton"):
        return "the package triton is not installed"
    from vsparagon.fused.attention import has_fitting_attention

    return trouble_with_triton(device) if has_fitting_attention(frame) else "ours does not support its attention"


def trouble_with_graph(frame: FrameNetwork) -> str:
    """Return why our kernels cannot run a frame graph on any GPU, "" if they can."""
    if not find_spec("triton"):
        return "the package triton is not installed"
    if not isinstance(frame.network, HalfForm):
        return "ours compute only in float16"
    if frame.tiles:
        return "ours run only on whole frames"
    from vsparagon.fused.canvas import MOST_NUMBERS
    from vsparagon.fused.features import Unfit, check

    try:
        most = check(frame.network)
    except Unfit as part:
        return f"ours do not support {part}"
    extension = frame.extension
    # The factor of 2 covers the borders and the padding for the last programs.
    if 2 * most * extension.extended_height * extension.extended_width >= MOST_NUMBERS:
        return "the frame is too large for ours"
    return ""


@cache
def trouble_with_triton(device: torch.device) -> str:
    """Return why Triton does not work on a GPU, "" if it does.

    Compiles and runs a small kernel; the answer is cached. The caller must hold `vsparagon.device.lanes.QUEUING`.

    Raises:
        Exception: the GPU is out of memory. That may pass, so it is not cached.
    """
    capability = torch.cuda.get_device_capability(device)
    if capability < OLDEST:
        return f"ours need compute capability {OLDEST[0]}.{OLDEST[1]}, and this GPU has {capability[0]}.{capability[1]}"
    from vsparagon.fused.canvas import Canvas
    from vsparagon.fused.colours import resampling

    canvas = Canvas(height=2, width=2, border=0, device=device)
    with torch.cuda.device(device):
        plane, target = torch.ones(2, 2, device=device), torch.zeros(2, 2, device=device)
        kernel = Kernels(weights=np.ones((1, 1)), step=1, before=0, after=0)
        try:
            resampling(canvas, [plane, plane], kernel, 2, 2, [target, target], down=True)()
            torch.cuda.synchronize()
        except Exception as error:  # a C compiler, Python's headers or the driver: no narrower common base class
            if lack_of_memory(error):
                raise  # may pass, so it must not be cached
            return f"Triton does not work here: {first_line_of(error)}"
    return "" if bool((target == plane).all()) else "Triton gives wrong results here"
