"""`python -m vsparagon`: the command `vsparagon`."""

import sys

from vsparagon.cli import main

if __name__ == "__main__":  # processes that are started from this one import it again
    sys.exit(main())
