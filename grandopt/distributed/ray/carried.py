"""Artifacts on their way to replicas, which may be on other machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grandopt.artifacts.artifact import is_artifact, read, write
from grandopt.artifacts.manifest import Manifest
from grandopt.artifacts.signing.requirement import Requirement, required
from grandopt.errors import ArtifactError, ConfigError
from grandopt.serving.repository.layout import candidates

MOST_BYTES = 64_000_000
"""Of the files of one application: Ray keeps them with the application's description, in the memory of the
head node, so that a replica that starts next week has them, whichever node or driver is gone by then."""


@dataclass(frozen=True)
class CarriedArtifact:
    """One artifact: its files themselves, or the `path` under which every node sees it.

    `digest` is the artifact's own, by which a replica knows that it has got what was deployed.
    """

    name: str
    digest: str
    path: str
    manifest: Mapping[str, Any] | None = None
    files: Mapping[str, bytes] | None = None

    @property
    def size(self) -> int:
        """Bytes that are carried."""
        return sum(map(len, (self.files or {}).values()))

    def placed(self, folder: Path) -> Path:
        """Where the artifact lies on this machine, below `folder` if it was carried.

        Raises ArtifactError where it is not the one that was deployed, whole and unchanged.
        """
        if self.manifest is None or self.files is None:
            found = read(Path(self.path))
        else:
            found = write(folder / self.name, Manifest.from_json(self.manifest), self.files)
        if found.manifest.digest != self.digest:
            raise ArtifactError(
                f"{self.path}: build {found.manifest.digest[:12]} is there, deployed was {self.digest[:12]}; "
                f"deploy again"
            )
        found.verify()
        return found.path


def carried(path: Path, *, by_path: bool = False, require_signature: Requirement = None) -> CarriedArtifact:
    """The artifact at `path`, every file checked against its manifest; raises ArtifactError."""
    artifact = read(path, require_signature)
    manifest = artifact.manifest
    where = str(artifact.path.absolute())
    if by_path:
        artifact.verify()
        return CarriedArtifact(manifest.name, manifest.digest, where)
    return CarriedArtifact(manifest.name, manifest.digest, where, manifest.to_json(), artifact.payloads())


def all_carried(
    paths: Sequence[Path | str] | Path | str, *, by_path: bool = False, require_signature: Requirement = None
) -> list[CarriedArtifact]:
    """The artifacts at `paths`, each an artifact or a folder of them.

    With `require_signature`, as for `grandopt.load`, what is carried are the bytes whose signature was
    checked. Raises ConfigError for a folder without artifacts, two agents of one name, more than
    `MOST_BYTES`, and for required signatures of what is carried `by_path`; ArtifactError for a broken one.
    """
    keys = required(require_signature)
    if by_path and keys is not None:
        raise ConfigError(
            "signatures are checked by who deploys, and files that replicas read by path may be others by "
            "then; leave out --by-path (by_path=True), so that the checked files travel"
        )
    found: dict[str, CarriedArtifact] = {}
    for path in [paths] if isinstance(paths, str | Path) else paths:
        for one in _below(Path(path)):
            made = carried(one, by_path=by_path, require_signature=keys)
            if made.name in found:
                raise ConfigError(
                    f"two artifacts are called {made.name!r}: {found[made.name].path} and {made.path}; "
                    f"deploy one of them"
                )
            found[made.name] = made
    size = sum(one.size for one in found.values())
    if size > MOST_BYTES:
        raise ConfigError(
            f"the artifacts have {size} bytes together, more than the {MOST_BYTES} that are carried; put "
            f"them where every node sees them under one path, and deploy with --by-path (by_path=True)"
        )
    return list(found.values())


def _below(path: Path) -> list[Path]:
    if not path.exists():
        raise ConfigError(f"{path}: no such artifact or folder of artifacts")
    if is_artifact(path):
        return [path]
    found = list(candidates(path).values()) if path.is_dir() else []
    for candidate in found:
        if candidate.reason:
            raise ArtifactError(candidate.reason)
    if not found:
        raise ConfigError(f"{path}: holds no artifact; give the folder that `grandopt optimize` wrote")
    return [candidate.path for candidate in found]
