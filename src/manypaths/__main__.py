"""`python -m manypaths`."""

import sys

from manypaths.cli import main

sys.exit(main())
