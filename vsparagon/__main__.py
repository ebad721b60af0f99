"""The program `vsparagon`, also run as `python -m vsparagon`."""

import sys


def run() -> int:
    """Run the command line and return the exit code, also if Ctrl-C is pressed before all modules are imported."""
    try:
        from vsparagon.cli import main

        return main()
    except KeyboardInterrupt:  # `main` reports those that come later
        from vsparagon.system.interrupt import INTERRUPTED

        sys.stderr.write("vsparagon: stopped\n")
        return INTERRUPTED


if __name__ == "__main__":  # child processes started with "spawn" import this module again
    sys.exit(run())
