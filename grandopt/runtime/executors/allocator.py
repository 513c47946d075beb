"""The memory of the C library, which keeps what engines free while they load."""

from __future__ import annotations

import ctypes


def give_back_freed_memory() -> None:
    """Return freed memory to the system, where the C library can (glibc's `malloc_trim`).

    An engine reads a graph, rewrites and packs it, and frees all but the result: for a small agent that is
    megabytes that the process would otherwise hold for good.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))
