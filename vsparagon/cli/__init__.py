"""The command `vsparagon`. One file for each group of commands; each adds its own options and runs them."""

from __future__ import annotations

import argparse
import errno
import io
import logging
import os
import sys
from collections.abc import Sequence

from vsparagon import __version__
from vsparagon.cli import cache, compare, doctor, encode, image, models, preview
from vsparagon.cli.options import in_options
from vsparagon.errors import ParagonError
from vsparagon.interrupt import INTERRUPTED
from vsparagon.output import write_out
from vsparagon.waiting import is_left_behind
from vsparagon.windows import RUNTIME_ADVICE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: those of the command line; of this process when left out.

    Returns:
        0; 1 after an error and 130 after Ctrl-C, both told on standard error; 1 if nobody reads the output any more.
    """
    _open_closed_streams()
    args = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name that the console cannot show is no error
    logging.basicConfig(level=logging.INFO if args.verbose else logging.WARNING, format="%(message)s")
    try:
        write_out(sys.stdout, args.run(args))
        return 0
    except BrokenPipeError:  # whoever read the output has left, as `head` does
        return _unread()
    except OSError as error:
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
    """Have what was started without standard streams, as services may be, write to nowhere."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):  # each takes the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115  (it stays open)


def _unread() -> int:
    """Return the exit code where nobody reads the output any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it ends
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
