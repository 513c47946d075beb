"""The options in a manifest, read by the executors."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from grandopt.artifacts.artifact import Artifact
from grandopt.errors import ArtifactError


def option(artifact: Artifact, name: str, allowed: Collection[Any]) -> Any:
    """An option of the manifest; raises ArtifactError when it is missing or not one of `allowed`."""
    value = artifact.manifest.options.get(name)
    if value not in allowed:
        raise ArtifactError(
            f"{artifact.path}: option {name!r} is {value!r}, must be one of "
            f"{', '.join(map(repr, allowed))}; build the artifact again"
        )
    return value
