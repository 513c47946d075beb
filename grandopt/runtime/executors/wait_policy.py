"""How the threads of torch's engines wait between calls: asleep."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

POLICY = "OMP_WAIT_POLICY"
CHOSEN = (POLICY, "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""Variables by which somebody may have said how OpenMP's threads are to wait (OpenMP 5.2, section 21.7; the
other two are those of GCC's and LLVM's libraries)."""


@contextmanager
def sleeping_threads() -> Iterator[None]:
    """A torch that is first imported in the block has threads that sleep when they have nothing to do.

    By default OpenMP's threads wait for the next call with their eyes open, for milliseconds, each on a core
    of its own. The library reads the variable once, when it is loaded: where torch is there already, or the
    caller has chosen, nothing is changed.
    """
    if "torch" in sys.modules or any(name in os.environ for name in CHOSEN):
        yield
        return
    os.environ[POLICY] = "PASSIVE"
    try:
        yield
    finally:
        os.environ.pop(POLICY, None)  # another thread, loading too, may have taken it away
