"""What parts of grandopt itself a kept result depends on."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import grandopt


@lru_cache(maxsize=8)
def code_digest(parts: tuple[str, ...]) -> str:
    """SHA-256 (hex) over the source of these packages and files, named relative to the package."""
    package = Path(grandopt.__file__).parent
    digest = hashlib.sha256()
    for part in parts:
        path = package / part
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.read_bytes())
    return digest.hexdigest()
