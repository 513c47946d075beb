"""Signing and checking artifacts on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from grandopt.artifacts.artifact import LARGEST_MANIFEST, MANIFEST_NAME, is_artifact, read
from grandopt.artifacts.regular import read_regular
from grandopt.artifacts.signing.keys import TrustedKeys, key_id
from grandopt.artifacts.signing.requirement import OWN_BUILD
from grandopt.artifacts.signing.signed import SIGNATURE_NAME, signed
from grandopt.artifacts.writing import put_file
from grandopt.errors import ArtifactError, ConfigError, OutputError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class Verdict(NamedTuple):
    """Of one artifact: the id of the key that signed it, or the reason for which it is refused."""

    path: str
    key: str | None
    reason: str | None


def found(paths: Sequence[Path]) -> list[Path]:
    """The artifacts that are named: each path is one, or a folder of some. Raises ConfigError for another."""
    artifacts: list[Path] = []
    for path in paths:
        inner = [path] if is_artifact(path) else sorted(path.glob(f"*/{MANIFEST_NAME}"))
        if not inner:
            raise ConfigError(f"{path}: neither an artifact nor a folder that holds some")
        artifacts += [item.parent if item.name == MANIFEST_NAME else item for item in inner]
    return artifacts


def sign_artifact(folder: Path, key: Ed25519PrivateKey) -> str:
    """Put a signature into the folder of an artifact, in the place of one that is there; the key's id.

    Raises ArtifactError for what is no artifact or a damaged one, and OutputError.
    """
    content = _manifest(folder)
    read(folder, OWN_BUILD).verify()
    if _manifest(folder) != content:
        raise ArtifactError(f"{folder}: was replaced while it was checked; sign it again")
    try:
        put_file(folder / SIGNATURE_NAME, signed(content, key))
    except OSError as error:
        raise OutputError(f"{folder / SIGNATURE_NAME}: cannot be written: {error.strerror}") from error
    return key_id(key.public_key().public_bytes_raw())


def verdict(folder: Path, trusted: TrustedKeys) -> Verdict:
    """Whether one of the trusted keys signed an artifact that is in every byte as it was then."""
    try:
        artifact = read(folder, trusted)
        artifact.verify()
    except ArtifactError as error:
        return Verdict(str(folder), None, str(error))
    return Verdict(str(folder), artifact.signer, None)


def _manifest(folder: Path) -> bytes:
    try:
        return read_regular(folder / MANIFEST_NAME, LARGEST_MANIFEST)
    except OSError as error:
        raise ArtifactError(f"{folder / MANIFEST_NAME}: cannot be read: {error.strerror}") from error
