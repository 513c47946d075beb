"""The options in a manifest, read by the executors.

A manifest is a file that anybody may have edited: each value is looked at before an engine sees it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from grandopt.artifacts.artifact import Artifact
from grandopt.artifacts.fields import shown
from grandopt.errors import ArtifactError

LARGEST = 1 << 48
"""No count and no size in a manifest is larger: what a processor can address."""


def option(artifact: Artifact, name: str, allowed: Collection[Any]) -> Any:
    """An option of the manifest; raises ArtifactError when it is missing or not one of `allowed`."""
    value = artifact.manifest.options.get(name)
    if not any(type(value) is type(one) and value == one for one in allowed):
        raise _wrong(artifact, name, value, f"one of {', '.join(map(repr, allowed))}")
    return value


def whole(artifact: Artifact, name: str, least: int) -> int:
    """An option that is a whole number from `least` on; raises ArtifactError when it is none."""
    value = artifact.manifest.options.get(name)
    if type(value) is not int or not least <= value <= LARGEST:
        raise _wrong(artifact, name, value, f"a whole number from {least} on")
    return value


def positions(artifact: Artifact, name: str, count: int) -> tuple[int, ...]:
    """An option that lists places among `count` things, none where it is missing; raises ArtifactError."""
    value = artifact.manifest.options.get(name, ())
    fits = isinstance(value, list | tuple) and all(type(item) is int and 0 <= item < count for item in value)
    if not fits:
        raise _wrong(artifact, name, value, f"a list of places below {count}")
    return tuple(value)


def texts(artifact: Artifact, name: str) -> dict[str, Any]:
    """An option that is an object, names → anything; raises ArtifactError when it is none."""
    value = artifact.manifest.options.get(name)
    if not isinstance(value, dict):
        raise _wrong(artifact, name, value, "an object")
    return value


def _wrong(artifact: Artifact, name: str, value: Any, wanted: str) -> ArtifactError:
    return ArtifactError(
        f"{artifact.path}: option {name!r} is {shown(value)}, must be {wanted}; build the artifact again"
    )
