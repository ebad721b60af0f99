"""What is installed, what works, and what to do about the rest."""

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
        help="look at the installation",
        description="Show versions, backends, devices, cache and ffmpeg, run a test of a second, and say what to do "
        "about what is missing. Lines marked -- are about things that not everybody needs; !! is broken.",
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
    return "everything that the filter needs is there\n"
