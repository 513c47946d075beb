"""The boundary to code that is neither ours nor a library's: the user's networks and trusted pickles."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from grandopt.errors import CheckpointError, GrandoptError


@contextmanager
def foreign_code(doing: str) -> Iterator[None]:
    """Translate whatever the user's code raises into a CheckpointError "`doing`: type: first line".

    Such code can raise anything, and none of it is a defect of grandopt; nowhere else is so much caught.
    """
    try:
        yield
    except GrandoptError:
        raise
    except Exception as error:
        raise CheckpointError(f"{doing}: {first_line(error)}") from error


@contextmanager
def current_folder_importable() -> Iterator[None]:
    """While this is open, modules of the current folder can be imported, as with `python -m`."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def first_line(error: BaseException) -> str:
    """The type of an error and the first line of its text, which is all that fits into one line."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0].strip()}" if lines else type(error).__name__
