"""What a network is to the backends that run it, as plain data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vsparagon.errors import ModelError, reason_of
from vsparagon.models.memory import bytes_per_pixel
from vsparagon.models.variants import NETWORKS, AnyOptions, ParagonSR2Options
from vsparagon.tiles.extension import WHOLE_WINDOWS, Sizes

RANGES = "ranges"  # what a file says under this: pairs of numbers, as JSON (`vsparagon.models.swift.Swift`)


@dataclass(frozen=True, kw_only=True)
class Model:
    """A network as the backends take it.

    Attributes:
        name: for people, for example "nano x2 clean".
        scale: enlargement of both sides.
        graph: ONNX file with one input N,channels,H,W and one output N,channels,scale*H,scale*W, float32 or float16,
            of nominal range 0..1, whose weights may lie beside it; a generator's is its inference form, for extended
            pictures only.
        checkpoint: the weights that the graph was exported from, None for an ONNX file of somebody else.
        channels: 3 for RGB, 1 for a network that takes one plane at a time.
        sizes: which heights and widths the graph takes.
        shift: enlarged pixels that are missing at the top and left of its output, as the inference form's are.
        sight: how far in source pixels a result pixel looks at most; or that it looks at the whole picture, so that
            tiles of the graph would be wrong; or that the graph of somebody else takes statistics of the picture, as
            each tile would of its own; or that this is not known.
        form: what its graph is: a generator of this project in the form that the filter makes of it, or in its
            published form, which is the slower one; or the network of somebody else.
        parameters: trained numbers; None where that is not known.
        rounded: the graph to compute in 8-bit integers, trained for that, which says between what numbers under
            `RANGES`; None where there is none.
        is_half: whether its graph takes and returns float16.
        bytes_per_pixel: about what its layers take for each source pixel; None where that is not known.
    """

    name: str
    scale: int
    graph: Path
    checkpoint: Path | None
    channels: int = 3
    sizes: Sizes
    shift: int
    sight: int | Literal["whole", "statistics", "unknown"] = "unknown"
    form: Literal["inference", "published", "foreign"] = "foreign"
    parameters: int | None = None
    bytes_per_pixel: int | None = None
    rounded: Path | None = None
    is_half: bool = False

    @property
    def reach(self) -> int | None:
        """How far it looks, None where that has no known end."""
        return self.sight if isinstance(self.sight, int) else None


def own_model(name: str, graph: Path, notes: dict[str, str], *, checkpoint: Path | None) -> Model:
    """Return a generator of this project from its inference form and what a file of it says about it.

    Args:
        name, graph, checkpoint: as in `Model`.
        notes: the kind of network under "network", its options as JSON under "options".

    Raises:
        ModelError: no network can be what the notes say.
    """
    options = own_options(graph, notes)
    return Model(
        name=name,
        scale=options.scale,
        graph=graph,
        checkpoint=checkpoint,
        sizes=WHOLE_WINDOWS if isinstance(options, ParagonSR2Options) else Sizes(),
        shift=options.inference_shift,
        sight=options.reach if options.is_local else "whole",
        form="inference",
        parameters=options.parameters,
        bytes_per_pixel=bytes_per_pixel(options),
        rounded=graph if RANGES in notes else None,
    )


def own_options(graph: Path, notes: dict[str, str]) -> AnyOptions:
    """Return the options of a generator of this project from what a file of it says about it.

    Args:
        graph, notes: as above.

    Raises:
        ModelError: no network can be what the notes say.
    """
    try:
        return NETWORKS[notes["network"]](**json.loads(notes["options"]))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ModelError(f"{graph.name} has invalid vsparagon metadata: {reason_of(error)}") from error
