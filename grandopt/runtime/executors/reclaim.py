"""Memory that loading took and running does not need, given back to the system."""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path

from grandopt.artifacts.mapping import MappedFile


def give_back_freed_memory() -> None:
    """Return freed memory to the system, where the C library can (glibc's `malloc_trim`).

    An engine reads a graph, rewrites and packs it, and frees all but the result: for a small agent that is
    megabytes that the process would otherwise hold for good.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))


def give_back_pages(mapping: MappedFile) -> None:
    """Let go of the pages of a mapped file that nobody wrote to; those that are used again come back."""
    if isinstance(mapping, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)


def give_back_pages_of(path: Path) -> None:
    """The same for the read-only mappings that a library made of the file at `path`; Linux alone tells."""
    wanted = os.path.realpath(path)
    try:
        with Path("/proc/self/maps").open(encoding="utf-8", errors="surrogateescape") as lines:
            found = [line.split(maxsplit=5) for line in lines if line.rstrip("\n").endswith(wanted)]
    except OSError:
        return
    advise = ctypes.CDLL(None).madvise
    for place, rights, *_ in found:
        if "w" not in rights:
            start, end = (int(number, 16) for number in place.split("-"))
            advise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), ctypes.c_int(mmap.MADV_DONTNEED))
