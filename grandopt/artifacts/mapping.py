"""Payload files mapped into memory: processes that map the same file share its pages.

A file under an artifact is never changed in place, only replaced by a rename, so a mapping keeps the content
that was checked, also when the artifact is replaced or removed afterwards.
"""

from __future__ import annotations

import mmap
import threading
from io import BufferedReader
from weakref import WeakValueDictionary

MappedFile = mmap.mmap | bytes
"""What stands for a mapped file: its pages, or for an empty file, which cannot be mapped, no bytes."""

_mapped: WeakValueDictionary[str, mmap.mmap] = WeakValueDictionary()
"""Living mappings by the SHA-256 of their content: equal files of several artifacts are mapped once."""
_lock = threading.Lock()


def mapped(file: BufferedReader, digest: str) -> MappedFile:
    """The whole content of an open file, whose SHA-256 (hex) the caller has found to be `digest`.

    Pages are private to the process only if it writes to them, which nobody does: engines insist on memory
    that could be written. Raises OSError when the file cannot be mapped.
    """
    with _lock:
        known = _mapped.get(digest)
        if known is not None:
            return known
        file.seek(0, 2)
        if not file.tell():
            return b""
        made = _mapped[digest] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        return made
