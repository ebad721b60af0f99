"""Whether the kernels can be used. Imports Triton only where it is there."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Final

import numpy as np
import torch

from vsparagon.backends.device import lack_of_memory
from vsparagon.errors import first_line_of
from vsparagon.models.frame import FrameNetwork
from vsparagon.models.half import HalfForm
from vsparagon.resampling import Kernels

OLDEST: Final = (8, 0)  # compute capability; Triton has no matrix products for earlier ones


def trouble_with_kernels(frame: FrameNetwork, device: torch.device) -> str:
    """Return what keeps a frame graph from our kernels on a GPU, "" if nothing does."""
    return trouble_with_graph(frame) or trouble_with_triton(device)


def trouble_with_attention(frame: FrameNetwork, device: torch.device) -> str:
    """Return what keeps the attention of a frame graph from our kernel on a GPU, "" if nothing does."""
    if not find_spec("triton"):
        return "the package triton is not installed"
    from vsparagon.fused.attention import has_fitting_attention

    return trouble_with_triton(device) if has_fitting_attention(frame) else "ours does not fit it"


def trouble_with_graph(frame: FrameNetwork) -> str:
    """Return what keeps a frame graph from our kernels on any GPU, "" if nothing does."""
    if not find_spec("triton"):
        return "the package triton is not installed"
    if not isinstance(frame.network, HalfForm):
        return "ours compute in float16"
    if frame.tiles:
        return "ours run only on whole frames"
    from vsparagon.fused.canvas import MOST_NUMBERS
    from vsparagon.fused.features import Unfit, check

    try:
        most = check(frame.network)
    except Unfit as part:
        return f"ours do not support {part}"
    extension = frame.extension
    # Borders and what fills the last programs are less than the factor of two.
    if 2 * most * extension.extended_height * extension.extended_width >= MOST_NUMBERS:
        return "the frame is too large for ours"
    return ""


@cache
def trouble_with_triton(device: torch.device) -> str:
    """Return why Triton does not run on a GPU, "" if it does. The caller holds `vsparagon.backends.device.QUEUING`."""
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
        except Exception as error:  # of a C compiler, of Python's headers, of the driver: they share no narrower base
            if lack_of_memory(error):
                raise  # passes, and is not remembered
            return f"Triton does not work here: {first_line_of(error)}"
    return "" if bool((target == plane).all()) else "Triton gives wrong results here"
