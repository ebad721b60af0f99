"""Check the speed claims of ParagonSR2's design, each with a pair of computations that differ in one thing.

    python scripts/claims.py [--threads 2] [--rounds 15] > table.md

Times are medians over interleaved rounds of one run, by torch in float32 on the CPU. A ratio above 1 means that the
second of a pair is slower. Claims about quality are checked by `scripts/train.py` and `scripts/evaluate.py`;
docs/claims.md has the commands and all results.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- its usual name

from vsparagon.models.attention import LocalWindowAttention
from vsparagon.models.generators import create_generator
from vsparagon.models.inference import inference_form
from vsparagon.models.paragonsr2 import ParagonSR2, RMSNorm
from vsparagon.models.variants import VARIANTS, ParagonSR2Options
from vsparagon.system.interrupt import ending_on_interrupt

# Parameters in millions, from the design's table.
CLAIMED = {"nano": 0.02, "micro": 0.04, "tiny": 0.08, "xs": 0.12, "s": 0.28, "m": 0.65, "l": 1.8, "xl": 3.8}
CROPS, SIDE = 8, 48
FRAME = (272, 480)

Work = Callable[[], Any]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two computations that differ only in what a claim is about.

    Attributes:
        claim: the claim; "" if it is the same as that of the previous pair.
        names: of the two computations.
        works: the two computations.
    """

    claim: str
    names: tuple[str, str]
    works: tuple[Work, Work]


class HighResolution(nn.Module):
    """A variant's body with as many channels, but after the upsampling instead of before it.

    It maps N,3,H,W to N,3,scale*H,scale*W.
    """

    def __init__(self, variant: str, **options: Any) -> None:
        super().__init__()
        published = create_generator(variant, **options)
        assert isinstance(published, ParagonSR2)
        self.scale = published.options.scale
        self.conv_in, self.body, self.conv_fuse = published.conv_in, published.body, published.conv_fuse
        self.conv_out = published.conv_out

    def forward(self, x: Tensor) -> Tensor:
        large = F.interpolate(x, scale_factor=self.scale, mode="nearest")
        features = self.body(self.conv_in(large))
        out: Tensor = large + self.conv_out(self.conv_fuse(features) + features)
        return out


class FullAttention(nn.Module):
    """Softmax attention of every pixel to every other, with equal channels for query, key and value; N,C,H,W."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.maps = nn.Conv2d(channels, 3 * channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (m.flatten(2).mT for m in self.maps(x).chunk(3, 1))
        return x + F.scaled_dot_product_attention(query, key, value).mT.reshape(x.shape)


def training_step(network: nn.Module, side: int = SIDE) -> Work:
    """Return a training step on a batch of `CROPS` random crops, with low-resolution sides of `side` pixels."""
    network = network.train().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad])
    low = torch.rand(CROPS, 3, side, side).to(memory_format=torch.channels_last)
    high = torch.rand(CROPS, 3, 2 * side, 2 * side).to(memory_format=torch.channels_last)

    def step() -> None:
        optimiser.zero_grad()
        (network(low) - high).abs().mean().backward()
        optimiser.step()

    return step


def forward(network: nn.Module, channels: int = 3, size: tuple[int, int] = FRAME) -> Work:
    """Return a forward pass over a random frame, 1,channels,height,width, without gradients."""
    network = network.eval()
    x = torch.rand(1, channels, *size).to(memory_format=torch.channels_last)

    def work() -> None:
        with torch.no_grad():
            network(x)

    return work


def pairs() -> Iterator[Pair]:
    """Yield the pairs to compare."""
    plain = {"use_attention": False, "use_content_aware": False}
    yield Pair(
        claim="training is 4 to 5 times faster at low resolution",
        names=("nano's training step", "its body at high resolution"),
        works=(training_step(create_generator("nano", **plain)), training_step(HighResolution("nano", **plain))),
    )
    yield Pair(
        claim="`fast_body_mode` makes training twice as fast",
        names=("s, training step", "s without it"),
        works=tuple(
            training_step(create_generator("s", use_attention=False, fast_body_mode=fast), side=24)
            for fast in (True, False)
        ),  # type: ignore[arg-type]
    )
    yield Pair(
        claim="RMSNorm is about 10 % faster than GroupNorm",
        names=("RMSNorm of 24 channels", "GroupNorm of 24 channels in 4 groups"),
        works=(forward(RMSNorm(24), 24), forward(nn.GroupNorm(4, 24), 24)),
    )
    yield Pair(
        claim="the attention is 15 to 20 % faster than the usual one",
        names=("windows of 32 x 32, of 14 channels, on 96 x 96 pixels", "every pixel to every other"),
        works=(forward(LocalWindowAttention(14), 14, (96, 96)), forward(FullAttention(14), 14, (96, 96))),
    )
    yield Pair(
        claim="attention costs nano and micro 5 % of their speed, with the content-aware gain",
        names=("nano without both, as the filter runs it", "with attention"),
        works=_forms(plain, plain | {"use_attention": True}),
    )
    yield Pair(
        claim="",
        names=("nano without both, as the filter runs it", "with the gain"),
        works=_forms(plain, plain | {"use_content_aware": True}),
    )


def _forms(first: dict[str, bool], second: dict[str, bool]) -> tuple[Work, Work]:
    size = (FRAME[0] // 24 * 24 + 8, FRAME[1] // 24 * 24 + 8)  # so that the attention has only whole windows
    one, other = (forward(inference_form(create_generator("nano", **options)), 3, size) for options in (first, second))
    return one, other


def parameters() -> str:
    """Return a Markdown table of the variants' parameters at scale 2, claimed and counted."""
    lines = ["| variant | claimed | counted |", "| --- | --- | --- |"]
    for name, claimed in CLAIMED.items():
        options = VARIANTS[name]
        assert isinstance(options, ParagonSR2Options)
        lines.append(f"| {name} | {claimed:g} M | {options.parameters / 1e6:.3f} M |")
    return "\n".join(lines)


def measure(pair: Pair, rounds: int) -> str:
    """Time the two computations of a pair in turn, and return a row of the Markdown table."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds + 2):
        for work, seen in zip(pair.works, times, strict=True):
            begin = time.perf_counter()
            work()
            seen.append(time.perf_counter() - begin)
    first, second = (statistics.median(seen[2:]) for seen in times)  # the first two rounds warm up
    cells = [pair.claim, pair.names[0], f"{first * 1e3:.1f} ms", pair.names[1], f"{second * 1e3:.1f} ms"]
    return "| " + " | ".join([*cells, f"{second / first:.2f}"]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch")
    parser.add_argument("--rounds", type=int, default=15, help="turns of each computation (15)")
    args = parser.parse_args()
    for name in ("threads", "rounds"):
        if (number := getattr(args, name)) < 1:
            parser.error(f"--{name} is {number}; it must be at least 1")
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {args.threads} threads, {args.rounds} rounds\n\n{parameters()}\n")
    print("| claim | | | | | ratio |\n| --- | --- | --- | --- | --- | --- |")
    for pair in pairs():
        print(measure(pair, args.rounds), flush=True)


if __name__ == "__main__":
    with ending_on_interrupt("claims"):
        main()
