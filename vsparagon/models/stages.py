"""Cuts a generator into stages, so that tiles give the same picture as the whole frame, however far the network looks.

Two things stand in the way of tiles: numbers of the whole frame, which are the means of content gain and channel
modulation, and a reach that grows with every block. So the traced inference form is cut at both. A stage takes tiles of
the picture, tiles of feature maps that earlier stages have made, and means. It makes tiles of further maps, means of
blocks of 8x8 pixels, which the caller averages over the frame, or the result. Within a stage nothing looks further than
its `reach`.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import fx, nn

from vsparagon.models.attention import WINDOW, LocalWindowAttention
from vsparagon.models.block_attention import STRIDE, BlockAttention
from vsparagon.models.folding import ShiftedConv2d
from vsparagon.models.inference import FrameMean, InferenceForm, Kept
from vsparagon.models.paragonsr2 import RMSNorm
from vsparagon.models.plan import FURTHEST, MAP, MEAN, PICTURE, RESULT, Stage
from vsparagon.models.tracing import traced

ATTENTION = (LocalWindowAttention, BlockAttention)


@dataclass(frozen=True)
class StageModule:
    """A stage and its network, which maps a list of the tensors of `stage.inputs` to a tuple of `stage.outputs`."""

    stage: Stage
    module: nn.Module


def cut(form: InferenceForm) -> list[StageModule]:
    """Return the stages of a generator's inference form in the order in which they run; the last makes the result."""
    return list(_Cut(form).stages())


class _Cut:
    """The traced form, with the stage that each step belongs to.

    Kept maps and means are made in one stage and used in later ones. `level` is the first stage in which a step can
    run; `made` is the stage that makes a kept map.
    """

    def __init__(self, form: InferenceForm) -> None:
        self.traced = traced(form, (FrameMean, Kept, RMSNorm, *ATTENTION, ShiftedConv2d))
        self.scale = form.options.scale
        modules = dict(self.traced.named_modules())
        self.module = {n: modules[str(n.target)] for n in self.traced.graph.nodes if n.op == "call_module"}
        options = form.options
        many = options.groups * options.blocks > 1
        far = options.use_attention or options.reach > FURTHEST
        between_blocks = many and far and not options.use_channel_mod  # its means cut each block anyway
        self.level: dict[fx.Node, int] = {}
        self.made: dict[fx.Node, int] = {}
        for node in self.traced.graph.nodes:
            level = max((self.level[n] for n in node.all_input_nodes), default=0)
            kind = self.module.get(node)
            if isinstance(kind, Kept):
                self.made[node] = level
            later = isinstance(kind, FrameMean) or (isinstance(kind, Kept) and between_blocks)
            self.level[node] = level + later
        self.result = next(n for n in self.traced.graph.nodes if n.op == "output").args[0]

    def stages(self) -> Iterator[StageModule]:
        last = self.level[self.result]
        found = []
        wanted: set[fx.Node] = set()
        for index in range(last, -1, -1):
            outputs = [n for n in self._means() if self.level[n] == index + 1]
            outputs += [n for n in self.made if n in wanted and self.made[n] == index]
            if index == last:
                outputs.append(self.result)
            steps = self._steps(index, outputs)
            given = [n for n in steps if self._is_given(n, index)]
            wanted.update(n for n in given if n in self.made)
            found.append(self._stage(index, steps, given, outputs))
        yield from reversed(found)

    def _means(self) -> list[fx.Node]:
        return [n for n, kind in self.module.items() if isinstance(kind, FrameMean)]

    def _is_given(self, node: fx.Node, index: int) -> bool:
        if node.op == "placeholder":
            return True
        if isinstance(self.module.get(node), FrameMean):
            return self.level[node] <= index
        return node in self.made and self.made[node] < index

    def _steps(self, index: int, outputs: Iterable[fx.Node]) -> list[fx.Node]:
        """Return the steps that lead from a stage's inputs to its outputs, in order."""
        needed: set[fx.Node] = set()
        waiting = list(outputs)
        while waiting:
            node = waiting.pop()
            if node not in needed:
                needed.add(node)
                if not self._is_given(node, index):
                    waiting += node.all_input_nodes
        return [n for n in self.traced.graph.nodes if n in needed]

    def _stage(self, index: int, steps: list[fx.Node], given: list[fx.Node], outputs: list[fx.Node]) -> StageModule:
        graph = fx.Graph()
        inputs = graph.placeholder("inputs")
        copies: dict[fx.Node, fx.Node] = {}
        reach: dict[fx.Node, int] = {}
        for node in steps:
            before = max((reach[n] for n in node.all_input_nodes), default=0) if node not in given else 0
            if node in given:
                copies[node] = graph.call_function(operator.getitem, (inputs, given.index(node)))
                reach[node] = 0
                continue
            kind = self.module.get(node)
            if isinstance(kind, FrameMean):
                pool = f"pool_{self._means().index(node)}"
                self.traced.add_module(pool, nn.AvgPool2d(kind.block))
                copies[node] = graph.call_module(pool, (copies[node.all_input_nodes[0]],))
            else:
                copies[node] = graph.node_copy(node, copies.__getitem__)
            reach[node] = _reach(kind, before)
        graph.output(tuple(copies[n] for n in outputs))
        stage = Stage(
            inputs=tuple(self._name(n) for n in given),
            outputs=tuple(self._name(n) for n in outputs),
            reach=max(reach[n] for n in outputs),
            has_windows=any(isinstance(self.module.get(n), ATTENTION) for n in steps if n not in given),
        )
        return StageModule(stage, fx.GraphModule(self.traced, graph).eval())

    def _name(self, node: fx.Node) -> str:
        if node is self.result:
            return RESULT
        if node.op == "placeholder":
            return PICTURE
        if node in self.made:
            return f"{MAP}{list(self.made).index(node)}"
        return f"{MEAN}{self._means().index(node)}"


def _reach(kind: nn.Module | None, before: int) -> int:
    """Return how far, in pixels, a step looks into its stage's inputs, if its own input looks `before` far.

    Windows start at the border of a tile, and a single wrong pixel makes a whole window wrong.
    """
    if isinstance(kind, ShiftedConv2d):
        return before + max(kind.pads)
    if isinstance(kind, nn.Conv2d):
        return before + kind.kernel_size[0] // 2
    if isinstance(kind, ATTENTION) and before:
        return (before - 1) // STRIDE * STRIDE + WINDOW
    return before


@torch.no_grad()
def channels_of(parts: Sequence[StageModule]) -> dict[str, int]:
    """Return the number of channels of every input and output, by name, found by running the stages on a small picture.

    Args:
        parts: all stages, in order.
    """
    side = WINDOW + STRIDE
    known = {PICTURE: torch.zeros(1, 3, side, side)}
    for part in parts:
        results = part.module([known[name] for name in part.stage.inputs])
        for name, value in zip(part.stage.outputs, results, strict=True):
            known[name] = value.mean((2, 3), keepdim=True) if name in part.stage.means_out else value
    return {name: value.shape[1] for name, value in known.items()}
