"""The command `vsparagon`. Each module adds a group of subcommands with their options and runs them.

encode.py    `encode`
preview.py   `preview`
compare.py   `compare`
image.py     `image`
models.py    `models`, `info` and `export`
cache.py     `cache`
doctor.py    `doctor`
options.py   options that several of them share
"""

from __future__ import annotations

import argparse
import errno
import io
import logging
import os
import sys
from collections.abc import Sequence
from typing import Final

from vsparagon import __version__
from vsparagon.cli import cache, compare, doctor, encode, image, models, preview
from vsparagon.cli.options import in_options
from vsparagon.errors import ParagonError
from vsparagon.system.interrupt import INTERRUPTED
from vsparagon.system.output import write_out
from vsparagon.system.waiting import is_left_behind
from vsparagon.system.windows import RUNTIME_ADVICE

# What is wrong with a path that somebody gave: even asking whether there is such a file may fail with these.
UNREACHABLE: Final = {errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Errors are reported on standard error.

    Args:
        arguments: of the command line, without the program's name; None for those of this process.

    Returns:
        The exit code: 0; 1 after an error or if standard output was closed by its reader; 130 after Ctrl-C.

    Raises:
        SystemExit: the arguments are wrong (exit code 2), or help or version was asked for.
    """
    _open_closed_streams()
    args = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # do not fail at a file name that the console cannot show
    logging.basicConfig(level=logging.INFO if args.verbose else logging.WARNING, format="%(message)s")
    try:
        write_out(sys.stdout, args.run(args))
        return 0
    except BrokenPipeError:  # the reader has closed the pipe, as `head` does
        return _unread()
    except OSError as error:
        if error.errno in UNREACHABLE and error.filename:
            sys.stderr.write(f"vsparagon: {error.filename} cannot be reached: {error.strerror}\n")
            return 1
        if error.errno != errno.ENOSPC:
            raise
        sys.stderr.write(f"vsparagon: {error.strerror}; free some space and run the command again\n")
        return _unread()
    except ParagonError as error:
        sys.stderr.write(f"vsparagon: {in_options(str(error), args)}\n")
        return 1
    except ImportError as error:
        if "DLL load failed" not in str(error):
            raise
        sys.stderr.write(f"vsparagon: {error}; {RUNTIME_ADVICE}\n")
        return 1
    except KeyboardInterrupt as interrupt:
        sys.stderr.write(f"vsparagon: {str(interrupt) or 'stopped'}\n")
        if is_left_behind():
            sys.stderr.flush()
            os._exit(INTERRUPTED)
        return INTERRUPTED


def _open_closed_streams() -> None:
    """Open missing standard streams on the null device: services, for example, may be started without them."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):  # in order: each gets the lowest free number
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115  (it stays open)


def _unread() -> int:
    """Discard the rest of the output, which cannot be written, and return the exit code."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python's flush at exit would fail
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vsparagon", description="Upscale video and images with small neural networks."
    )
    parser.add_argument("--version", action="version", version=f"vsparagon {__version__}")
    parser.add_argument("--verbose", action="store_true", help="show log messages, such as which backend was chosen")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for group in (encode, preview, compare, image, models, cache, doctor):
        group.add_commands(commands)
    for command in commands.choices.values():
        command.set_defaults(usage=command.format_usage())
    return parser
