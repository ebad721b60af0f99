"""Remembers on which GPUs our kernels crashed.

After a crash CUDA refuses all further work in that process; the next process uses torch's kernels instead. A note is
valid for one network, one GPU, one version each of driver, torch and Triton, and the present source of our kernels.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import torch

from vsparagon.cache import CRASH
from vsparagon.device.gpus import driver_version
from vsparagon.errors import BackendFailure, first_line_of
from vsparagon.system.files import write_atomically

log = logging.getLogger(__name__)

PACKAGE: Final = Path(__file__).parents[2] / "fused"


def crash_note(folder: Path, device: str, network: str) -> Path:
    """Return the path of the note about a crash. Imports Triton.

    Args:
        folder: the cache folder.
        device: in torch's notation.
        network: its name.
    """
    import triton

    kernels = hashlib.sha256(b"".join(module.read_bytes() for module in sorted(PACKAGE.glob("*.py"))))
    facts = [network, torch.cuda.get_device_name(device), driver_version(), torch.__version__, triton.__version__]
    text = json.dumps([*facts, kernels.hexdigest()])
    return folder / "crashes" / f"{hashlib.sha256(text.encode()).hexdigest()}{CRASH}"


@contextmanager
def noting_a_crash(note: Path, device: str, network: str) -> Iterator[None]:
    """Write a note if an error in the block, which uses our kernels, leaves the GPU unresponsive.

    Args:
        note: the path from `crash_note`.
        device: in torch's notation.
        network: its name, for people.

    Raises:
        BackendFailure: the GPU did not respond on entry, or does not respond after an error, which this one replaces.
    """
    if not answers(device):
        raise BackendFailure(f"{device} no longer responds; restart the application.")
    try:
        yield
    except Exception as error:
        if answers(device):
            raise
        reason = first_line_of(error)
        try:
            note.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(note, f"{network}: {reason}\n".encode())
            advice = "it will then use torch's slower kernels, until you run vsparagon cache clear crashes"
        except OSError as problem:
            trouble = f"{note} cannot be written ({problem.strerror})"
            advice = f'{trouble}, so set precision="fp32", which does not use them'
        raise BackendFailure(
            f"our kernels for {network} crashed on this GPU ({reason}); please report this, with the versions of "
            f"torch, triton and the driver. Restart the application: {advice}."
        ) from error


def answers(device: str) -> bool:
    """Return whether a device still works in this process; always True for the CPU."""
    if torch.device(device).type != "cuda":
        return True
    try:
        torch.cuda.synchronize(device)
    except RuntimeError:
        return False
    return True
