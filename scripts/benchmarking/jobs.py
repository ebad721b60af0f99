"""What is measured and how: plain data that is sent to the workers as JSON."""

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
        """Number of pixels."""
        return self.width * self.height


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What all candidates have in common.

    Attributes:
        scale: scale factor.
        frames: frames per turn; 0 if there is no clip.
        rounds: number of rounds, in each of which every candidate has a turn.
        threads: that VapourSynth and its filters may use; 0 for all.
        picture: file of the picture in the source clip; "" for scikit-image's astronaut.
        x264: preset of the encoder that the frames are piped into; "" for no encoder.
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
        threads: overrides that of the settings; 0 not to.
        facts: further values for the table and JSON.
    """

    name: str
    kind: str
    size: Size
    arguments: dict[str, Any] = field(default_factory=dict)
    threads: int = 0
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A candidate as its worker sees it; the attributes are those of `Candidate`."""

    kind: str
    width: int
    height: int
    arguments: dict[str, Any]
    settings: Settings


def job_of(candidate: Candidate, settings: Settings) -> dict[str, Any]:
    """Return a candidate's job as values that can be serialised as JSON."""
    return {
        "kind": candidate.kind,
        "width": candidate.size.width,
        "height": candidate.size.height,
        "arguments": candidate.arguments,
        "settings": vars(settings) | {"threads": candidate.threads or settings.threads},
    }


def job_from(facts: dict[str, Any]) -> Job:
    """Return the job in values from `job_of`."""
    return Job(**(facts | {"settings": Settings(**facts["settings"])}))
