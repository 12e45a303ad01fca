"""`python -m dripline` is the `dripline` command."""

import sys

from dripline.cli import main

sys.exit(main())
