"""The boundary to code that is neither ours nor a library's: the user's networks and trusted pickles."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from grandopt.errors import CheckpointError, GrandoptError, named_line


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
        raise CheckpointError(f"{doing}: {named_line(error)}") from error


@contextmanager
def current_folder_importable() -> Iterator[None]:
    """While this is open, modules of the current folder can be imported, as with `python -m`."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
