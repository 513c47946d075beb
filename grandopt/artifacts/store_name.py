"""What a store is called among those who have it in common."""

from __future__ import annotations

import secrets
from contextlib import suppress
from pathlib import Path

from grandopt.artifacts.writing import locked, write_file_atomically
from grandopt.errors import OutputError

NAME = ".name"


def store_name(root: Path) -> str:
    """The name of the store below `root`, made up at random when it is asked for first.

    It is the same for all who mount the folder, wherever. Raises OutputError where it cannot be written.
    """
    path = root / NAME
    try:
        with suppress(FileNotFoundError):
            return path.read_text(encoding="ascii").strip()
        root.mkdir(parents=True, exist_ok=True)
        with locked(root):
            if not path.exists():
                write_file_atomically(path, f"{secrets.token_hex(16)}\n".encode())
            return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise OutputError(f"{root}: the store cannot be used: {error.strerror}") from error
