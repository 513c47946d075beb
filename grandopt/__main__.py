"""`python -m grandopt`, the same as `grandopt`."""

from __future__ import annotations

import sys

from grandopt.cli.app import main

sys.exit(main())
