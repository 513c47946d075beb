"""The folder that an export is written into: whole, or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from grandopt.errors import OutputError


def require_free(folder: Path) -> None:
    """Raise OutputError unless `folder` is empty, or is missing where one can be made."""
    try:
        if folder.is_dir():
            if any(folder.iterdir()):
                raise OutputError(f"{folder}: is not empty; choose another folder or empty this one")
            return
        if os.path.lexists(folder):
            raise OutputError(f"{folder}: is there already and no folder; choose another name")
        above = next(parent for parent in folder.absolute().parents if parent.exists())
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror}") from error
    if not above.is_dir():
        raise OutputError(f"{folder}: cannot be written: {above} is no folder")
    if not os.access(above, os.W_OK | os.X_OK):
        raise OutputError(f"{folder}: cannot be written: nothing may be made in {above}")


def put_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files, by their paths within it, into a folder that `require_free` lets pass.

    Where that fails or is interrupted, none of them is in it. Raises OutputError.
    """
    try:
        present = folder.is_dir()
        if not present:
            folder.parent.mkdir(parents=True, exist_ok=True)
        # On the same file system in both cases; a folder that is there stays that one, as it may be current.
        unfinished = (folder if present else folder.parent) / f".{secrets.token_hex(8)}.unfinished"
        try:
            for name, content in files.items():
                path = unfinished / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            if present:
                _move(unfinished, folder)
            else:
                unfinished.rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)  # gone already after the rename
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror}") from error


def _move(unfinished: Path, folder: Path) -> None:
    """What is in one folder into the other, or nothing of it."""
    moved: list[Path] = []
    try:
        for item in sorted(unfinished.iterdir()):
            moved.append(folder / item.name)
            item.rename(moved[-1])
    except BaseException:
        for item in moved:
            if item.is_dir():
                shutil.rmtree(item, ignore_errors=True)
            else:
                item.unlink(missing_ok=True)
        raise
