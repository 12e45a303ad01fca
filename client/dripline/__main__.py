"""`python -m dripline` is the `dripline` command."""

import sys

from dripline.cli.main import main

sys.exit(main())
