"""Which artifacts lie in a folder, and which version of each agent is the one to serve."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from grandopt.artifacts.artifact import is_artifact, read
from grandopt.config.names import check_agent_name
from grandopt.errors import ConfigError

ONLY = "1"
"""The version of an agent whose artifact lies in its folder without a folder of the version."""

Mark = tuple[tuple[str, int, int, int], ...]
"""Name, inode, size and time of change of each file of an artifact: another one says that it changed."""


class Candidate(NamedTuple):
    """An artifact that could be served: of which agent, as which version, and where.

    `reason` says why it cannot be an artifact at all, else it is empty.
    """

    name: str
    version: str
    path: Path
    mark: Mark
    reason: str = ""


def candidates(folder: Path) -> dict[str, Candidate]:
    """The version to serve of each agent in `folder`, by the agent's name.

    `folder` is an artifact itself, or holds `agent/manifest.json` or `agent/version/manifest.json`. Of
    numbered versions the highest is served, of others the one that was written last. Nothing of an artifact
    but its place is looked at. Raises ConfigError for what is no folder, ArtifactError for a folder that is
    an artifact with a broken manifest.
    """
    if is_artifact(folder):
        folder = folder if folder.is_dir() else folder.parent
        return {name: Candidate(name, ONLY, folder, mark_of(folder)) for name in [read(folder).manifest.name]}
    found = {}
    for path in _folders(folder):
        try:
            candidate = _candidate(path)
        except (ConfigError, OSError) as error:  # it alone: not readable, or removed just now
            candidate = Candidate(
                path.name, "", path, (), f"{path}: {getattr(error, 'strerror', 0) or error}"
            )
        if candidate is not None:
            found[path.name] = candidate
    return found


def mark_of(folder: Path) -> Mark:
    """What tells an artifact from a changed one; empty where it is gone."""
    try:
        with os.scandir(folder) as entries:
            stats = [(entry.name, entry.stat()) for entry in entries]
    except OSError:  # removed, or being replaced just now: it is looked at again
        return ()
    return tuple(sorted((name, stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in stats))


def _candidate(path: Path) -> Candidate | None:
    name = path.name
    try:
        check_agent_name(name)
    except ValueError as error:
        return Candidate(name, "", path, (), f"{path}: {error}")
    if is_artifact(path):
        return Candidate(name, ONLY, path, mark_of(path))
    versions = [version for version in _folders(path) if is_artifact(version)]
    if not versions:
        mark = mark_of(path)
        if not mark:
            return None  # an empty folder, such as one that an agent was moved away from
        return Candidate(name, "", path, mark, f"{path}: holds neither a manifest.json nor versions with one")
    best = max(versions, key=_order)
    return Candidate(name, best.name, best, mark_of(best))


def _order(version: Path) -> tuple[int, int, str]:
    """By which the last one is served: numbers before all other names."""
    name = version.name
    if name.isascii() and name.isdigit():
        return 1, int(name), name
    try:
        return 0, (version / "manifest.json").stat().st_mtime_ns, name
    except OSError:  # removed meanwhile
        return 0, 0, name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _folders(folder: Path) -> Iterator[Path]:
    """The folders in `folder` that are not hidden, by name."""
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if _is_folder(entry))
    except OSError as error:
        raise ConfigError(f"{folder}: not a folder of artifacts: {error.strerror}") from error
    return (folder / name for name in names if not name.startswith("."))
