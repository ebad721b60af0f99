"""What a network is to the backends that run it, as plain data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

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
        reach: how far in source pixels a result pixel looks at most; None where it looks at the whole picture, or where
            that is not known.
        takes_statistics: whether the graph of somebody else is known to take means of the whole picture, or the like:
            each tile would take its own.
        parameters: trained numbers; None where that is not known.
        needs_whole: whether it is known to look at the whole picture, so that tiles of its graph would be wrong.
        rounded: the graph to compute in 8-bit integers, trained for that, which says between what numbers under
            `RANGES`; None where there is none.
        is_half: whether its graph takes and returns float16.
        as_published: whether its graph is a generator of this project in its published form, which is the slower one.
        bytes_per_pixel: about what its layers take for each source pixel; None where that is not known.
    """

    name: str
    scale: int
    graph: Path
    checkpoint: Path | None
    channels: int = 3
    sizes: Sizes
    shift: int
    reach: int | None = None
    needs_whole: bool = False
    takes_statistics: bool = False
    parameters: int | None = None
    bytes_per_pixel: int | None = None
    rounded: Path | None = None
    is_half: bool = False
    as_published: bool = False

    @property
    def is_inference_form(self) -> bool:
        """Whether its graph is a generator of this project in the form that the filter makes of it."""
        return self.parameters is not None and not self.as_published


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
        reach=options.reach if options.is_local else None,
        needs_whole=not options.is_local,
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
        raise ModelError(
            f"{graph.name} says of itself what no network of vsparagon can be: {reason_of(error)}"
        ) from error
