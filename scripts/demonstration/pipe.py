"""`vspipe | ffmpeg`, as a user would run them."""

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

CHATTER: Final = ("Information:", "Script evaluation done", "Output ")  # vspipe's lines when all is well
BROKEN_PIPE: Final = -13  # the exit code of a program that SIGPIPE has ended

untyped: Any = vs  # its stubs leave some functions untyped


def say(text: str) -> None:
    """Tell the progress to whoever watches; stdout is kept for the results."""
    print(f"demo: {text}", file=sys.stderr, flush=True)


def ffmpeg_error(ffmpeg: str, code: int, log: bytes) -> ParagonError:
    """Return the error for an ffmpeg that has failed and left this log, whose first line tells the cause."""
    said = log.decode(errors="replace").strip().splitlines() or ["it said nothing"]
    cause = re.sub(r"^\[[^]]*\] ", "", said[0]).rstrip(".")
    advice = f"see that {ffmpeg} has libx264 and that the disk has room"
    return ParagonError(f"ffmpeg failed with exit code {code}: {cause}; {advice}")


def vspipe_error(code: int, lines: list[str]) -> ParagonError:
    """Return the error for a vspipe that has failed and said these lines, perhaps with a traceback."""
    said = [line.strip() for line in lines if line and not line.startswith(CHATTER)] or ["it said nothing"]
    cause = next((line for line in said if line.startswith(("Python exception:", "Error:"))), said[-1])
    if cause.endswith(":"):
        cause += f" {said[-1]}"
    return ParagonError(f"vspipe failed with exit code {code}: {cause}; all that it said is above")


def find_vspipe() -> str:
    """Return the vspipe of the VapourSynth which this very interpreter imports."""
    package = Path(vs.__file__).parent
    if found := shutil.which("vspipe", path=package):
        return found
    raise ParagonError(f"there is no vspipe in {package}; run `pip install --force-reinstall vapoursynth`")


def configure_vspipe(folder: Path) -> dict[str, str]:
    """Return an environment in which vspipe runs this interpreter, by a configuration of its own in `folder`.

    The user's configuration may name another Python; it is neither read nor changed.
    """
    home = "APPDATA" if sys.platform == "win32" else "XDG_CONFIG_HOME"
    library: str = untyped.get_vsscript()
    # Where Python looks for what a user has installed follows from APPDATA, too.
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
    """What vspipe measured, from the first frame asked for to the last one taken by ffmpeg."""

    frames: int
    seconds: float


def run_pipe(vspipe: list[str], ffmpeg: list[str], environment: Mapping[str, str]) -> Speed:
    """Run `vspipe | ffmpeg` to their ends.

    Raises:
        ParagonError: One of the two failed; the message is about the one that failed first.
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
        stack.callback(source.kill)  # has no effect on a process that has ended
        sink = stack.enter_context(subprocess.Popen(ffmpeg, stdin=source.stdout, stderr=log))
        stack.callback(sink.kill)
        assert source.stdout is not None
        assert source.stderr is not None
        source.stdout.close()  # ffmpeg's alone now: if ffmpeg ends, vspipe gets to know
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
        raise ParagonError("vspipe ended without naming its frames; use VapourSynth 81 or later")
    return Speed(frames=int(measured[1]), seconds=float(measured[2]))


def relay(stream: Iterator[str]) -> Iterator[str]:
    """Pass vspipe's messages on to stderr, the count of frames on one line, and yield all but that count."""
    terminal = sys.stderr.isatty()
    for line in (line.rstrip() for line in stream):
        if not line.startswith("Frame:"):
            say(f"vspipe: {line}")
            yield line
        elif terminal:
            print(f"\rdemo: vspipe: {line}", end="\r", file=sys.stderr, flush=True)
