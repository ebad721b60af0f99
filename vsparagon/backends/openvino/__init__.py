"""Intel's OpenVINO on the CPU: the default where there is no GPU, on any x86-64 or Arm processor.

library.py         imports it
cpu.py             runs networks in this process
surgery.py         removes what need not be computed: the final pixel shuffle, and the rim that no tile keeps
network_base.py    separates the base from what a network adds to it
vectors.py         widens a network to whole vectors of channels
one_plane.py       folds a network for RGB to one plane
quantisation.py    convolutions in 8-bit integers
phases.py          the pixel shuffle, as part of the copy to a frame
remote.py          runs networks in a process of its own, where another OpenVINO keeps it out of this one
client.py          that process and the channel to it
server.py          what runs in it
shared_arrays.py   memory that both processes share
"""

from __future__ import annotations

from importlib.util import find_spec

from vsparagon.backends.base import CpuRuntime, PictureBackend
from vsparagon.backends.openvino.client import trouble_in_worker
from vsparagon.backends.openvino.library import import_trouble


class OpenVINO(CpuRuntime):
    """OpenVINO, in this process if it can be imported into it."""

    name = "openvino"
    extra = ""

    def missing(self) -> str:
        if not find_spec("openvino"):
            return "openvino is not installed; pip install openvino"
        return import_trouble() and trouble_in_worker()

    def cpu(self, why: str = "") -> PictureBackend:
        if import_trouble():
            from vsparagon.backends.openvino.remote import RemoteOpenVINO

            return RemoteOpenVINO()
        from vsparagon.backends.openvino.cpu import OpenVINOCpu

        return OpenVINOCpu(why)
