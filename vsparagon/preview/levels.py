"""The ways to upscale a source for a preview: as asked for, then cheaper and cheaper ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import vapoursynth as vs

from vsparagon.backends.base import Backend
from vsparagon.choice import Choice, noted_choices
from vsparagon.errors import InvalidInput
from vsparagon.input.job import Job, Network
from vsparagon.input.source import Source, converted, upscaled_clip
from vsparagon.models.bundled import bundled
from vsparagon.preview.description import preview_format

# The variants to fall back to if one is too slow, each faster than the one before (docs/speed.md).
FASTER: Final = {
    "nano": ("swift_lite",),
    "micro": ("swift", "swift_lite"),
    "tiny": ("swift", "swift_lite"),
    "swift": ("swift_lite",),
    "swift_plus": ("swift", "swift_lite"),
}
FASTER_IN_LOW_PRECISION: Final = FASTER | {"nano": ("swift", "swift_lite")}  # bfloat16 and 8-bit integers
SMALLER: Final = (Fraction(3, 4), Fraction(1, 2), Fraction(1, 4))
LEAST: Final = 16  # least width and height of a reduced source, in pixels
LINE: Final = 2  # width of the line between the halves, in pixels
TEXT_MARGIN: Final = 16  # around VapourSynth's text, in pixels


@dataclass(frozen=True, kw_only=True)
class Level:
    """One way to upscale the source.

    Attributes:
        name: for people.
        open: makes its clip; the clips of all levels have the same size, format and length.
    """

    name: str
    open: Callable[[], vs.VideoNode]


def levels_for(source: Source, job: Job, *, ab: bool) -> list[Level]:
    """Return the levels for a source, the most expensive first; only one for a script that upscales by itself.

    Args:
        source: the clip.
        job: names the network and how it is run.
        ab: whether the left half shows the source, enlarged by bicubic; ignored if a script upscales by itself.

    Raises:
        ParagonError: the network or the clip cannot be used.
    """
    wanted = preview_format(source.clip.format)
    with noted_choices() as choices:
        first = upscaled_clip(source, job, wanted)
    if source.upscaled:
        return [Level(name=job.input.name, open=lambda: first)]
    network = job.network or Network()
    plain = enlarged_plainly(source, first) if ab else None

    def shown(name: str, clip: vs.VideoNode) -> vs.VideoNode:
        return halves(plain, clip, name) if plain else clip

    def level(name: str, network: Network, share: Fraction = Fraction(1)) -> Level:
        def make() -> vs.VideoNode:
            smaller = replace(source, clip=reduced(source.clip, share))
            return shown(name, upscaled_clip(smaller, replace(job, network=network), wanted))

        return Level(name=name, open=make)

    asked = Path(network.model).stem if network.model else network.variant
    fixed = replace(network, width=first.width, height=first.height)
    faster = {_name(one, fixed, asked): one for one in _faster_networks(fixed, choices[-1], source.clip.format)}
    levels = [Level(name=asked, open=lambda: shown(asked, first))]
    levels += [level(name, network) for name, network in faster.items()]
    name, fastest = [(asked, fixed), *faster.items()][-1]
    for share in SMALLER:
        small = reduced(source.clip, share)
        if small.width >= LEAST and small.height >= LEAST:
            levels.append(level(f"{name} from {small.width}x{small.height}", fastest, share))
    return levels


def _name(network: Network, wanted: Network, asked: str) -> str:
    name = asked if network.model else network.variant
    name += " int8" * (network.precision != wanted.precision)
    return name + ", luma only" * (network.chroma != wanted.chroma)


def enlarged_plainly(source: Source, result: vs.VideoNode) -> vs.VideoNode:
    """Return the source enlarged by bicubic to the size and format of the result."""
    return converted(source.clip, int(result.format.id), width=result.width, height=result.height)


def _faster_networks(network: Network, choice: Choice, video_format: vs.VideoFormat) -> list[Network]:
    """Return the networks to fall back to; from the first that can be folded on, the resizer upscales the chroma.

    Args:
        network: as asked for.
        choice: what runs it.
        video_format: of the source.
    """
    faster = _faster_variants(network, choice.backend)
    foldable = [network] * choice.model.foldable + faster  # all that are named in `FASTER` are
    if video_format.color_family != vs.YUV or network.chroma or not (choice.backend.folds and foldable):
        return faster
    whole = [one for one in foldable if one.variant == foldable[0].variant]
    only_luma = [whole[-1], *foldable[len(whole) :]]
    return [one for one in whole if one in faster] + [replace(one, chroma="resizer") for one in only_luma]


def _faster_variants(network: Network, backend: Backend) -> list[Network]:
    """Return the bundled networks to fall back to, in 8-bit integers if the precision is open."""
    if network.model:
        return []
    variants: tuple[str, ...] = ()
    if network.precision == "auto" and "int8" in backend.precisions:
        network, variants = replace(network, precision="int8"), (network.variant,)
    faster = FASTER_IN_LOW_PRECISION if network.precision in ("bf16", "int8") else FASTER
    variants += faster.get(network.variant, ())
    there = bundled(quantised=network.precision == "int8")
    return [replace(network, variant=v) for v in variants if (v, network.scale, network.profile) in there]


def reduced(clip: vs.VideoNode, share: Fraction) -> vs.VideoNode:
    """Return the clip reduced by bicubic.

    Args:
        clip: of any format.
        share: of width and height to keep; the result is rounded to a size that the chroma subsampling allows.
    """
    if share == 1:
        return clip
    across, down = 1 << clip.format.subsampling_w, 1 << clip.format.subsampling_h
    width = max(1, round(clip.width * share / across)) * across
    height = max(1, round(clip.height * share / down)) * down
    small: vs.VideoNode = clip.resize.Bicubic(width=width, height=height)
    return small


def halves(left: vs.VideoNode, right: vs.VideoNode, name: str) -> vs.VideoNode:
    """Return the left half of one clip next to the right half of another, labelled and with a thin line between them.

    Args:
        left: the source, enlarged by bicubic to the size and format of `right`.
        right: the result; its frame properties are kept.
        name: of the level that made the result.

    Raises:
        InvalidInput: the clips are too narrow for that.
    """
    if right.width < 3 * LINE:
        raise InvalidInput(f"--ab needs a result that is at least {3 * LINE} pixels wide; this one has {right.width}.")
    middle = right.width // 4 * 2
    peak = 1 << right.format.bits_per_sample
    white: Any = [peak * 235 // 256] * right.format.num_planes
    if right.format.color_family == vs.YUV:
        white[1:] = [peak // 2, peak // 2]
    line = right.std.BlankClip(width=LINE, color=white)
    parts = [
        with_text(left, "bicubic", 7).std.Crop(right=left.width - middle),
        line,
        with_text(right.std.Crop(left=middle + LINE), name, 9),
    ]
    return vs.core.std.StackHorizontal(parts).std.CopyFrameProps(right)


def with_text(clip: vs.VideoNode, text: str, place: int) -> vs.VideoNode:
    """Return the clip with text that is legible when the picture fills a screen; a clip too small for text as it is.

    Args:
        clip: in a `preview_format`.
        text: what is drawn.
        place: where, by the keys of a numeric keypad: 7 is the top left corner.
    """
    scale = max(1, int(clip.height) // 360)
    if clip.width < 2 * TEXT_MARGIN + 8 * scale or clip.height < 2 * TEXT_MARGIN + 16 * scale:  # a character's size
        return clip
    drawn: vs.VideoNode = clip.text.Text(text, place, scale)
    return drawn
