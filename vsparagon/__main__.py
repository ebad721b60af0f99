"""Run the command `vsparagon` as `python -m vsparagon`."""

import sys

from vsparagon.cli import main

if __name__ == "__main__":  # child processes started with "spawn" import this module again
    sys.exit(main())
