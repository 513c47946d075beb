"""From the store to `artifacts/<agent>`: the shipped artifact with its evidence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from grandopt.artifacts.artifact import Artifact, write


def ship(artifact: Artifact, folder: Path, name: str, evidence: dict[str, Any]) -> Artifact:
    """Write a copy of a stored artifact under the agent's name; replaces an older artifact there atomically.

    Raises OutputError when the folder cannot be written, or holds something that is not an artifact.
    """
    manifest = replace(artifact.manifest, name=name, evidence=evidence)
    return write(folder, manifest, artifact.payloads())
