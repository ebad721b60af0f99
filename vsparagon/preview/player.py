"""Find a player, and run it with an address to play."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vsparagon.errors import BackendUnavailable
from vsparagon.preview import PLAYERS
from vsparagon.system.waiting import wait_for

# VapourSynth's _ChromaLocation -> mpv's name, which assumes 0. It is all that mpv does not read from a Matroska file.
CHROMA_LOCATIONS: Final = {1: "mpeg1/jpeg", 2: "uhd"}
# For ffplay's index of all frames, 24 bytes each. Its default, 1 MiB, thins the index of films of more than 43,690
# frames, and seeks would end up to three frames early.
INDEX_BYTES: Final = 100_000_000
LAST_SECONDS: Final = 3.0  # that a player gets to end before it is killed


@dataclass(frozen=True, kw_only=True)
class Show:
    """What a player needs to know.

    Attributes:
        address: of the video.
        title: of the window.
        start: where to begin, in seconds from the first frame.
        chroma_location: as VapourSynth numbers it; 0 also if chroma is not subsampled.
        beside: the file that audio and subtitles come from.
        kinds: which of "audio" and "subtitle" to play from it.
        ahead: seconds from the beginning of those streams to the first frame.
    """

    address: str
    title: str
    start: float
    chroma_location: int
    beside: Path
    kinds: frozenset[str]
    ahead: float


def find_player(name: str) -> str:
    """Return the path of the player to run, or "" if none of `PLAYERS` is found.

    Args:
        name: "mpv", "ffplay" or another program that takes an address; "" for the first of `PLAYERS` that is found.

    Raises:
        BackendUnavailable: the named program was not found.
    """
    for candidate in (name,) if name else PLAYERS:
        if found := shutil.which(candidate):
            return _itself(found)
    if name:
        raise BackendUnavailable(f"the program {name} was not found; choose another with --player.")
    return ""


def _itself(program: str) -> str:
    """Return the program to end a player by: for a console wrapper such as mpv.com on Windows, the .exe next to it.

    The wrapper starts that program but does not end it when it is ended itself.
    """
    found = Path(program)
    if found.suffix.lower() == ".com" and found.with_suffix(".exe").is_file():
        return str(found.with_suffix(".exe"))
    return program


def player_command(program: str, show: Show) -> list[str]:
    """Return the command that plays the video. Programs other than mpv and ffplay get only the address."""
    kind = Path(program).stem.lower()
    if kind == "mpv":
        return [program, *_mpv_options(show), show.address]
    if kind == "ffplay":
        options = ["-hide_banner", "-loglevel", "error", "-autoexit", "-window_title", show.title]
        options += ["-indexmem", str(INDEX_BYTES)]
        options += ["-ss", f"{show.start:.3f}"] if show.start else []  # with -ss 0, ffplay would read the start twice
        return [program, *options, show.address]
    return [program, show.address]


def _mpv_options(show: Show) -> list[str]:
    options = [
        "--ytdl=no",  # do not pass the address to youtube-dl
        "--msg-level=all=error",
        "--autofit-larger=100%x95%",
        f"--start={show.start:.3f}",
        # A few seconds of raw video: stepping back is immediate, and memory use stays small.
        "--cache=yes",
        "--demuxer-max-bytes=128MiB",
        "--demuxer-max-back-bytes=256MiB",
    ]
    if location := CHROMA_LOCATIONS.get(show.chroma_location):
        options.append(f"--vf-append=format=chroma-location={location}")
    if show.kinds:
        # Either option adds all tracks of the file, and selects a track of its own kind.
        kind = "audio" if "audio" in show.kinds else "sub"
        options += [f"--{kind}-file={show.beside}"]
        options += [f"--audio-delay={-show.ahead:.6f}", f"--sub-delay={-show.ahead:.6f}"]
        options += ["--audio-fallback-to-null=yes"]  # without a sound device, mpv would call the whole film a failure
    return options


class RunningPlayer:
    """A running player. A context manager: leaving it ends the player.

    The player's output goes to standard error, and it uses no HTTP proxy.

    Args:
        command: program and arguments.
    """

    def __init__(self, command: Sequence[str]) -> None:
        direct = {name: value for name, value in os.environ.items() if name.lower() not in ("http_proxy", "all_proxy")}
        self._process = subprocess.Popen(command, stdout=sys.stderr, env=direct)

    def wait(self) -> int:
        """Wait until the player ends, and return its exit code."""
        return wait_for(self._process)

    def stop(self) -> None:
        """Ask the player to end."""
        self._process.send_signal(signal.SIGTERM)

    def __enter__(self) -> RunningPlayer:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.stop()
            try:
                self._process.wait(LAST_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
