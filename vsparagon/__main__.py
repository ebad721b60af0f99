"""`python -m vsparagon`: the command `vsparagon`."""

import sys

from vsparagon.cli import main

sys.exit(main())
