"""Run `vspipe | ffmpeg` as a user would."""

from __future__ import annotations

import os
import re
import shutil
import site
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import vapoursynth as vs

from vsparagon.errors import ParagonError
from vsparagon.ffmpeg import lines_said

CHATTER: Final = ("Information:", "Script evaluation done", "Output ")  # how vspipe's harmless messages begin
BROKEN_PIPE: Final = -13  # exit code of a program that was ended by SIGPIPE

untyped: Any = vs  # some functions have no types in VapourSynth's stubs


def say(text: str) -> None:
    """Print a progress message to stderr; stdout is for the results."""
    print(f"demo: {text}", file=sys.stderr, flush=True)


def ffmpeg_error(ffmpeg: str, code: int, log: bytes) -> ParagonError:
    """Return the error for a failed ffmpeg, with the cause from the first line of its log."""
    cause = next(iter(lines_said(log)), "it printed nothing")
    advice = f"see that {ffmpeg} has libx264 and that the disk has room"
    return ParagonError(f"ffmpeg failed with exit code {code}: {cause}; {advice}")


def vspipe_error(code: int, lines: list[str]) -> ParagonError:
    """Return the error for a failed vspipe, with the cause from its output, which may contain a traceback."""
    said = [line.strip() for line in lines if line and not line.startswith(CHATTER)] or ["it printed nothing"]
    cause = next((line for line in said if line.startswith(("Python exception:", "Error:"))), said[-1])
    if cause.endswith(":"):
        cause += f" {said[-1]}"
    return ParagonError(f"vspipe failed with exit code {code}: {cause}; its whole output is above")


def find_vspipe() -> str:
    """Return the path of the vspipe that belongs to the VapourSynth of this interpreter.

    Raises:
        ParagonError: there is none.
    """
    package = Path(vs.__file__).parent
    if found := shutil.which("vspipe", path=package):
        return found
    raise ParagonError(f"there is no vspipe in {package}; run `pip install --force-reinstall vapoursynth`")


def configure_vspipe(folder: Path) -> dict[str, str]:
    """Return environment variables with which vspipe uses this interpreter.

    The configuration for that is written to `folder`. The user's own, which may name another Python, is neither read
    nor changed.

    Raises:
        ParagonError: vspipe cannot use this interpreter.
    """
    home = "APPDATA" if sys.platform == "win32" else "XDG_CONFIG_HOME"
    library: str = untyped.get_vsscript()
    # Python derives the folder of packages installed with --user from APPDATA as well, so it is fixed here.
    environment = {**os.environ, "PYTHONUSERBASE": site.getuserbase(), home: str(folder), "VSSCRIPT_PATH": library}
    command = [sys.executable, "-m", "vapoursynth", "config"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace")
    if done.returncode or "Failed" in done.stdout:
        raise ParagonError(
            f"vspipe cannot run {sys.executable}: {(done.stdout + done.stderr).strip().splitlines()[-1]}; "
            "it needs a Python that was built with a shared libpython"
        )
    return environment


@dataclass(frozen=True, kw_only=True)
class Speed:
    """vspipe's measurement: frames, and seconds from the first request to the last frame taken by ffmpeg."""

    frames: int
    seconds: float


def run_pipe(vspipe: list[str], ffmpeg: list[str], environment: Mapping[str, str]) -> Speed:
    """Run `vspipe | ffmpeg` to the end.

    Args:
        vspipe, ffmpeg: the two commands.
        environment: environment variables for vspipe.

    Raises:
        ParagonError: one of the two failed; the message is about the one that failed first.
    """
    with ExitStack() as stack:
        log = stack.enter_context(tempfile.TemporaryFile())
        source = stack.enter_context(
            subprocess.Popen(
                vspipe,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                encoding="utf-8",
                errors="replace",
            )
        )
        stack.callback(source.kill)  # does nothing if the process has ended
        sink = stack.enter_context(subprocess.Popen(ffmpeg, stdin=source.stdout, stderr=log))
        stack.callback(sink.kill)
        assert source.stdout is not None
        assert source.stderr is not None
        source.stdout.close()  # only ffmpeg has it open now, so vspipe notices if ffmpeg ends
        lines = list(relay(source.stderr))
        source_code, sink_code = source.wait(), sink.wait()
        log.seek(0)
        sink_log = log.read()
    cut_off = source_code == BROKEN_PIPE or any("fwrite()" in line for line in lines)  # ffmpeg ended first
    if source_code and not (sink_code and cut_off):
        raise vspipe_error(source_code, lines)
    if sink_code:
        raise ffmpeg_error(ffmpeg[0], sink_code, sink_log)
    measured = re.search(r"Output (\d+) frames in ([\d.]+) seconds", "\n".join(lines))
    if measured is None:
        raise ParagonError("vspipe ended without reporting its speed; use VapourSynth 81 or later")
    return Speed(frames=int(measured[1]), seconds=float(measured[2]))


def relay(stream: Iterator[str]) -> Iterator[str]:
    """Copy vspipe's messages to stderr and yield them, except the frame counter, which a terminal shows on one line."""
    terminal = sys.stderr.isatty()
    for line in (line.rstrip() for line in stream):
        if not line.startswith("Frame:"):
            say(f"vspipe: {line}")
            yield line
        elif terminal:
            print(f"\rdemo: vspipe: {line}", end="\r", file=sys.stderr, flush=True)
