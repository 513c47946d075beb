"""Writing a produced file so that nobody ever reads half of it."""

from __future__ import annotations

from pathlib import Path

from grandopt.artifacts.writing import put_file
from grandopt.errors import OutputError


def write_text_atomically(path: Path, text: str) -> None:
    """Write `text` as UTF-8 so that `path` always holds either the old or the new content, whole.

    Creates the folder. Raises OutputError when the place cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        put_file(path, text.encode())
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror}); choose another folder with --output"
        ) from error
