"""`vsparagon doctor`: show what is installed, what works, and what to do about the rest."""

from __future__ import annotations

import argparse
import sys

from vsparagon.errors import ParagonError
from vsparagon.wording import counted

MARKS = {"ok": "ok", "optional": "--", "problem": "!!"}


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `doctor`."""
    parser = commands.add_parser(
        "doctor",
        help="check the installation",
        description="Show versions, backends, devices, cache and ffmpeg, run a one-second test, and say how to install "
        "what is missing. Lines marked -- are optional; lines marked !! are problems.",
    )
    parser.set_defaults(run=_run)


def _run(_args: argparse.Namespace) -> str:
    from vsparagon.doctor import examine

    problems = 0
    for finding in examine():
        problems += finding.state == "problem"
        sys.stdout.write(f"{MARKS[finding.state]}  {finding.topic:20} {finding.text}\n")
        if finding.advice:
            sys.stdout.write(f"{'':24} to do: {finding.advice}\n")
        sys.stdout.flush()
    if problems:
        raise ParagonError(f"{counted(problems, 'problem')}, marked !! above.")
    return "no problems found\n"
