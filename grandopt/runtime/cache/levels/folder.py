"""The folder of a disk level, and the file in it that says so."""

from __future__ import annotations

import os
from pathlib import Path

from grandopt.errors import CacheError

MARKER = "grandopt-cache"
"""The file that makes a folder a cache; it holds the format's version."""
VERSION = 1


def is_cache(folder: Path) -> bool:
    """Whether `folder` is a cache, of whichever version."""
    return (folder / MARKER).is_file()


def claim(folder: Path) -> None:
    """Make `folder` a cache of this version, or see that it is one. Several processes may do so at once.

    Raises CacheError for a folder that cannot be written, holds other things, or is of another version.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        marker = folder / MARKER
        if not marker.exists():
            strangers = [entry.name for entry in folder.iterdir() if not entry.name.startswith(MARKER)]
            # Looked at again: another process puts the marker there before anything else.
            if strangers and not marker.exists():
                raise CacheError(f"{folder}: holds {strangers[0]!r} and is no cache; choose an empty folder")
            draft = folder / f"{MARKER}.{os.getpid()}"
            draft.write_text(f"{VERSION}\n", encoding="ascii")
            draft.replace(marker)
        written = marker.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        raise CacheError(
            f"{folder}: cannot be used as a cache ({error.strerror}); choose another folder"
        ) from error
    if written != str(VERSION):
        raise CacheError(
            f"{folder}: a cache of format {written[:20]!r}, this grandopt knows {VERSION}; "
            "update grandopt, or choose another folder"
        )
