"""What is measured, and how: plain data, sent to the workers as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Size:
    """Width and height of the source in pixels."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"

    @property
    def pixels(self) -> int:
        """The product of both."""
        return self.width * self.height


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is the same for all candidates.

    Attributes:
        scale: of both sides.
        frames: that a candidate makes in a turn; 0 where no clip runs.
        rounds: of turns.
        threads: that VapourSynth and everything in it may use; 0 for all.
        picture: file of the picture that moves; "" for scikit-image's astronaut.
        x264: preset of the encoder that the frames are piped into; "" for none.
    """

    scale: int = 2
    frames: int = 0
    rounds: int = 5
    threads: int = 0
    picture: str = ""
    x264: str = ""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One thing to measure.

    Attributes:
        name: for the table.
        kind: a name in `benchmarking.worker.LOADS`.
        size: of the source.
        arguments: of that load.
        threads: instead of those of the settings; 0 for those.
        facts: what else is known of it, for the table and JSON.
    """

    name: str
    kind: str
    size: Size
    arguments: dict[str, Any] = field(default_factory=dict)
    threads: int = 0
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A candidate as its worker sees it."""

    kind: str
    width: int
    height: int
    arguments: dict[str, Any]
    settings: Settings


def job_of(candidate: Candidate, settings: Settings) -> dict[str, Any]:
    """Return the job as JSON knows it."""
    return {
        "kind": candidate.kind,
        "width": candidate.size.width,
        "height": candidate.size.height,
        "arguments": candidate.arguments,
        "settings": vars(settings) | {"threads": candidate.threads or settings.threads},
    }


def job_from(facts: dict[str, Any]) -> Job:
    """Return the job that `job_of` described."""
    return Job(**(facts | {"settings": Settings(**facts["settings"])}))
