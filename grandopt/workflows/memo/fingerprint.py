"""What code a kept result depends on: parts of grandopt itself, and the libraries of an engine."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from grandopt.artifacts.artifact import Artifact
from grandopt.measurement.environment import libraries

ALWAYS = ("grandopt", "numpy", "torch")
"""Libraries that every comparison with an original goes through."""


def library_versions(artifacts: Sequence[Artifact]) -> dict[str, str]:
    """The installed versions of the libraries that these artifacts run with, and of those always used."""
    needed = {*ALWAYS, *(name for artifact in artifacts for name in artifact.manifest.requires)}
    return {name: version for name, version in libraries().items() if name in needed}


@lru_cache(maxsize=8)
def code_digest(parts: tuple[str, ...]) -> str:
    """SHA-256 (hex) over the source of these packages and files, named relative to the package."""
    package = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for part in parts:
        path = package / part
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.read_bytes())
    return digest.hexdigest()
