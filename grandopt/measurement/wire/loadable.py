"""A subject as a worker is told of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Loadable:
    """An artifact that a worker is to open: `loader` is the "module:callable" for it, called as
    `load(path, trust=…, threads=…)`; errors name it by its `label`."""

    label: str
    path: Path
    trust: bool
    loader: str


def miscounted(wanted: Sequence[object], given: Sequence[object]) -> str | None:
    """Why an answer about the subjects `given` is none to a request about those `wanted`, if it is not."""
    if len(given) == len(wanted):
        return None
    return f"it is about {len(given)} subjects instead of {len(wanted)}"
