"""What a backend is told besides the model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Precision = Literal["fp32", "fp16", "bf16", "int8"]


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """What a compiled network depends on, apart from the model.

    Attributes:
        height, width: of the input, in pixels.
        precision: arithmetic of the network.
        steps: number of equal steps from black to white in the samples of its pictures, at most 255; 0 if they are
            finer. With "int8", the first convolution then takes 8-bit integers, too.
    """

    height: int
    width: int
    precision: Precision
    steps: int = 0


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a compiled network is run.

    Attributes:
        streams: frames the runtime works on at once.
        threads: CPU threads the runtime may use in total.
        cache: folder for compiled networks and notes of crashes.
    """

    streams: int
    threads: int
    cache: Path
