"""What backends know of the network that they run, as plain data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vsparagon.errors import ModelError, reason_of
from vsparagon.geometry.extension import WHOLE_WINDOWS, Sizes
from vsparagon.models.memory import bytes_per_pixel
from vsparagon.models.variants import NETWORKS, AnyOptions, ParagonSR2Options, SwiftOptions

RANGES = "ranges"  # key in a file's metadata; its value is `vsparagon.models.swift.Swift.ranges` as JSON


@dataclass(frozen=True, kw_only=True)
class Model:
    """A network as the backends take it.

    Attributes:
        name: for people, for example "nano x2 clean".
        scale: enlargement of both sides.
        graph: ONNX file with one input N,channels,H,W and one output N,channels,scale*H,scale*W, float32 or float16,
            nominal range 0..1; its weights may be in files next to it. An inference form takes extended pictures only.
        checkpoint: the weights that the graph was exported from; None if the model was given as an ONNX file.
        channels: 3 for RGB, 1 for a network that takes one plane at a time.
        foldable: whether its graph, for RGB, can be folded to one for a single plane: to what it makes of a gray
            picture. With `channels` of 1, a backend that `folds` does so.
        sizes: heights and widths that the graph takes.
        shift: enlarged pixels missing at the top and left of its output, as with the inference form.
        sight: how far a result pixel looks at most, in source pixels; "whole" if it looks at the whole picture, so that
            tiles of the graph would be wrong; "statistics" if the graph, by others, takes statistics of the picture,
            which each tile would take of itself; "unknown" otherwise.
        form: "inference" for a generator of this project in the form that the filter derives; "published" for one in
            its published form, which is slower; "foreign" for a network by others.
        parameters: number of trained parameters; None if unknown.
        quantised: a graph for 8-bit integers, trained for that, whose metadata has the ranges under `RANGES`; None if
            there is none.
        is_half: whether the graph takes and returns float16.
        bytes_per_pixel: about how many bytes its layers need per source pixel; None if unknown.
    """

    name: str
    scale: int
    graph: Path
    checkpoint: Path | None
    channels: int = 3
    foldable: bool = False
    sizes: Sizes
    shift: int
    sight: int | Literal["whole", "statistics", "unknown"] = "unknown"
    form: Literal["inference", "published", "foreign"] = "foreign"
    parameters: int | None = None
    bytes_per_pixel: int | None = None
    quantised: Path | None = None
    is_half: bool = False

    @property
    def reach(self) -> int | None:
        """How far the network looks, in source pixels; None if it looks at the whole picture, or if that is unknown."""
        return self.sight if isinstance(self.sight, int) else None


def own_model(name: str, graph: Path, notes: dict[str, str], *, checkpoint: Path | None) -> Model:
    """Return the model of a generator of this project, from its inference form and the metadata of its file.

    Args:
        name, graph, checkpoint: as in `Model`.
        notes: the metadata: the kind of network under "network", its options as JSON under "options".

    Raises:
        ModelError: the metadata describe no valid network.
    """
    options = own_options(graph, notes)
    return Model(
        name=name,
        scale=options.scale,
        graph=graph,
        checkpoint=checkpoint,
        foldable=isinstance(options, SwiftOptions),
        sizes=WHOLE_WINDOWS if isinstance(options, ParagonSR2Options) else Sizes(),
        shift=options.inference_shift,
        sight=options.reach if options.is_local else "whole",
        form="inference",
        parameters=options.parameters,
        bytes_per_pixel=bytes_per_pixel(options),
        quantised=graph if RANGES in notes else None,
    )


def own_options(graph: Path, notes: dict[str, str]) -> AnyOptions:
    """Return the options of a generator of this project from the metadata of its file.

    Args:
        graph, notes: as in `own_model`.

    Raises:
        ModelError: the metadata describe no valid network.
    """
    try:
        return NETWORKS[notes["network"]](**json.loads(notes["options"]))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ModelError(f"{graph.name} has invalid vsparagon metadata: {reason_of(error)}") from error
