"""Writing a produced file so that nobody ever reads half of it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from grandopt.errors import OutputError


def write_whole(path: Path, text: str) -> None:
    """Write `text` as UTF-8 so that `path` always holds either the old or the new content, whole.

    Creates the folder. Raises OutputError when the place cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("x", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror}); choose another folder with --output"
        ) from error


def _sync_folder(folder: Path) -> None:
    # The rename itself is durable only once the folder is on disk.
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
