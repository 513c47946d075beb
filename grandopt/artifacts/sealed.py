"""Payload files copied into memory that nobody can change any more: what was checked is what is used.

A file in a folder can be replaced, or written to, between the moment in which its digest is taken and the one
in which an engine opens it. Where signatures are required, a payload is therefore first copied into a file of
the kernel's memory (memfd_create(2)) that is sealed, and the digest is that of the copy. A process holds the
bytes of its payloads then, instead of sharing pages of a file with others.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import weakref
from functools import cached_property
from io import BufferedReader
from pathlib import Path

from grandopt.artifacts.mapping import MappedFile

_PIECE = 1 << 20
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class SealedFile:
    """The content of an open file, at most `most` bytes of it and one, as it was when this object was made.

    Raises OSError where the file cannot be read or the system grants no such memory.
    """

    def __init__(self, source: BufferedReader, most: int) -> None:
        self._descriptor = os.memfd_create("grandopt", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        weakref.finalize(self, os.close, self._descriptor).atexit = False
        digest, size = hashlib.sha256(), 0
        while size <= most and (piece := source.read(min(_PIECE, most + 1 - size))):
            digest.update(piece)
            size += len(piece)
            view = memoryview(piece)
            while view:
                view = view[os.write(self._descriptor, view) :]
        fcntl.fcntl(self._descriptor, fcntl.F_ADD_SEALS, _SEALS)
        self.size, self.sha256 = size, digest.hexdigest()

    @property
    def path(self) -> Path:
        """A path to it, good in this process and as long as this object lives.

        It must live as long as a library that was opened by it: another file could get the same path then,
        and be taken for the library.
        """
        return Path(f"/proc/self/fd/{self._descriptor}")

    @cached_property
    def mapping(self) -> MappedFile:
        """Its pages; as `mapping.mapped`, private where somebody writes to them."""
        return mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_COPY) if self.size else b""
