"""Which libraries are installed, told without importing them."""

from __future__ import annotations

import sys
from pathlib import Path


def installed_version(library: str) -> str | None:
    """The version of an installed library, or None.

    It stands in the name of the folder that every installer leaves beside the library (PyPA, "Recording
    installed projects"). `importlib.metadata` finds it there, too, and is asked only where the name of the
    folder does not tell: it brings a parser of e-mails, which costs a process 3 MB.
    """
    start, end = f"{library.replace('-', '_')}-".lower(), ".dist-info"
    for place in sys.path:
        try:
            names = [path.name for path in Path(place or ".").iterdir()]
        except OSError:  # sys.path names zip files and folders that are not there
            continue
        for name in names:
            if name.lower().startswith(start) and name.endswith(end):
                return name[len(start) : -len(end)]
    from importlib import metadata

    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None
