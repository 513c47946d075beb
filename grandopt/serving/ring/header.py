"""The header for clients in C and C++.

It lies with the native engine's sources, because the compiled code of artifacts serves rings by it, too.
"""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path

HEADER = "grandopt_ring.h"


def folder() -> Path:
    """The folder to give to a compiler's `-I`, in which `grandopt_ring.h` lies beside others."""
    return Path(str(resources.files("grandopt.runtime.executors").joinpath(HEADER))).parent


if __name__ == "__main__":
    sys.stdout.write(f"{folder()}\n")
