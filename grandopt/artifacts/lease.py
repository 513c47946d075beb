"""Which entries of a store living processes use.

A lease is a file that names keys, one per line, under a lock that the kernel drops with its process: what is
in a file without a lock was left behind, and counts for nothing.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import weakref
from contextlib import suppress
from pathlib import Path


class KeyLease:
    """The keys that one holder uses, from `add` to `close`. Not thread-safe: the store's lock guards it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / secrets.token_hex(8)
        self._descriptor = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        self._keys: set[str] = set()
        # Also a lease that nobody closes ends, with the store that holds it.
        self._end = weakref.finalize(self, _end, self._path, self._descriptor)

    def add(self, key: str) -> None:
        """Use a key from now on."""
        if key not in self._keys:
            os.write(self._descriptor, f"{key}\n".encode())
            self._keys.add(key)

    def close(self) -> None:
        """Use nothing any more."""
        self._end()


def _end(path: Path, descriptor: int) -> None:
    path.unlink(missing_ok=True)
    os.close(descriptor)


def leased(folder: Path) -> set[str]:
    """All keys in living leases; the files of dead holders are removed."""
    keys: set[str] = set()
    for path in list(folder.iterdir()) if folder.is_dir() else []:
        with suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
                path.unlink()
            except BlockingIOError:
                keys.update(path.read_text(encoding="ascii").split())
            finally:
                os.close(descriptor)
    return keys
