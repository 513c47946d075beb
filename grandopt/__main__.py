"""The program `grandopt`, also as `python -m grandopt`."""

from __future__ import annotations

import gc
import sys


def main() -> int:
    """Run the process's command line and return its exit code."""
    # Imports make much that stays and next to no garbage: looking for it takes a fifth of a start. The
    # command line switches collections on again before a command runs.
    gc.disable()
    from grandopt.cli.app import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
