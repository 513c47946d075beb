"""An artifact on disk: a folder with `manifest.json` and the payload files that it names.

Payload files are stored under their content: `program.pt2` lies in the folder as
`program-<first 16 digits of its SHA-256>.pt2`. Old and new payloads can therefore lie side by side, and the
rename of the manifest is the one moment at which a replaced artifact becomes the new one. A signature may lie
beside it (see `signing`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import BufferedReader
from pathlib import Path

from grandopt import limits
from grandopt.artifacts.manifest import Manifest, PayloadFile, is_plain_name
from grandopt.artifacts.mapping import MappedFile, mapped
from grandopt.artifacts.regular import open_regular, read_regular
from grandopt.artifacts.sealed import SealedFile
from grandopt.artifacts.signing.keys import TrustedKeys
from grandopt.artifacts.signing.requirement import OWN_BUILD, Requirement, required
from grandopt.errors import ArtifactError, OutputError, first_line

MANIFEST_NAME = "manifest.json"
LARGEST_MANIFEST = 64 << 20
"""Bytes; the evidence of a run is some hundred thousand."""


@dataclass(frozen=True)
class Artifact:
    """A complete artifact: its folder and its manifest. The payload is checked when it is asked for.

    `held` is the payload mapped into memory where it was checked before (see `holding`), else empty. `signer`
    is the id of the key that signed it, where a signature was required: then payloads are given from sealed
    copies of them, as long as this object lives.
    """

    path: Path
    manifest: Manifest
    held: Mapping[str, MappedFile] = field(default_factory=dict, repr=False, compare=False)
    signer: str | None = None
    _copies: dict[str, SealedFile] = field(default_factory=dict, repr=False, compare=False)

    def payload(self, name: str) -> bytes:
        """The bytes of one payload file, of the size and SHA-256 that the manifest states.

        Raises ArtifactError when the file is not in the manifest, missing, or has been changed.
        """
        if name in self.held or self.signer is not None:
            return bytes(self.mapped(name))
        with self._opened(name) as (file, path):
            content = file.read()
            self._check(name, path, len(content), hashlib.sha256(content).hexdigest())
            return content

    def payload_path(self, name: str) -> Path:
        """Where one payload file lies, after the checks of `payload`; raises ArtifactError like it.

        The file is read in pieces: also a large one takes no memory.
        """
        if self.signer is not None:
            return self._copy(name).path
        if name in self.held:
            return self.path / stored_name(self.entry(name))
        return self._checked(name)

    def sealed(self, name: str) -> SealedFile | None:
        """The copy of one payload file that `payload_path` tells the path of, where a signature was required;
        raises ArtifactError like it. What was opened by that path must let go of the copy last."""
        return None if self.signer is None else self._copy(name)

    def mapped(self, name: str) -> MappedFile:
        """One payload file mapped into memory, after the checks of `payload`; raises ArtifactError like it.

        Equal files, also of other artifacts, are mapped once in a process; other processes that map this
        file share its pages. The file is read in pieces: no page is held before it is used.
        """
        if name in self.held:
            return self.held[name]
        if self.signer is not None:
            return self._copy(name).mapping
        with self._opened(name) as (file, path):
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            self._check(name, path, file.tell(), digest)
            return mapped(file, digest)

    def payloads(self) -> dict[str, bytes]:
        """All payload files by name, each checked; raises ArtifactError at the first that is damaged."""
        return {entry.name: self.payload(entry.name) for entry in self.manifest.payload}

    def verify(self) -> None:
        """Raise ArtifactError at the first payload file that is missing or has been changed."""
        for entry in self.manifest.payload:
            self._checked(entry.name)

    def verify_signed(self) -> None:
        """`verify` where a signature was required, so that nothing of a changed artifact is opened at all."""
        if self.signer is not None:
            self.verify()

    def holding(self) -> Artifact:
        """The same artifact with what a call needs mapped into memory: each file opened once, and checked."""
        return replace(self, held={entry.name: self.mapped(entry.name) for entry in self.manifest.needed})

    def entry(self, name: str) -> PayloadFile:
        """What the manifest says of one payload file; raises ArtifactError when it has none of this name."""
        for entry in self.manifest.payload:
            if entry.name == name:
                return entry
        names = ", ".join(entry.name for entry in self.manifest.payload) or "none"
        raise ArtifactError(f"{self.path}: has no payload {name!r}; it has {names}")

    def _checked(self, name: str) -> Path:
        with self._opened(name) as (file, path):
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            self._check(name, path, file.tell(), digest)
            return path

    def _copy(self, name: str) -> SealedFile:
        if name not in self._copies:
            with self._opened(name) as (file, path):
                made = SealedFile(file, self.entry(name).size)
                self._check(name, path, made.size, made.sha256)
                self._copies[name] = made
        return self._copies[name]

    @contextmanager
    def _opened(self, name: str) -> Iterator[tuple[BufferedReader, Path]]:
        path = self.path / stored_name(self.entry(name))
        try:
            with open_regular(path) as file:
                size = os.fstat(file.fileno()).st_size
                if size != self.entry(name).size:  # told before anything is read
                    self._check(name, path, size, "")
                yield file, path
        except OSError as error:
            raise ArtifactError(
                f"{path}: the payload {name!r} cannot be read ({error.strerror}); build it again"
            ) from error

    def _check(self, name: str, path: Path, size: int, digest: str) -> None:
        entry = self.entry(name)
        if size != entry.size:
            raise ArtifactError(
                f"{path}: damaged: {size} bytes where the manifest says {entry.size}; build it again"
            )
        if digest != entry.sha256:
            raise ArtifactError(
                f"{path}: damaged: SHA-256 {digest[:16]}… where the manifest says {entry.sha256[:16]}…; "
                f"build it again"
            )


def is_artifact(path: Path) -> bool:
    """Whether `path` is the folder of an artifact, or its manifest.json, going by names only."""
    return path.name == MANIFEST_NAME or (path / MANIFEST_NAME).is_file()


def read(path: Path, require_signature: Requirement = None) -> Artifact:
    """Open the artifact in the folder `path` (or whose manifest.json `path` is).

    With `require_signature` (public keys, or a file or folder of them; without it, what the command asks for)
    its manifest must be signed by one of those keys, which is found out before anything in it is looked at.
    Raises ArtifactError when it is not, when nothing is there, when it is not an artifact or only half of
    one, and when its manifest is of an unknown version or has wrong fields; ConfigError for keys that cannot
    be read. The payload is not read.
    """
    trusted = required(require_signature)
    folder = path.parent if path.name == MANIFEST_NAME else path
    file = folder / MANIFEST_NAME
    if not folder.exists():
        raise ArtifactError(f"{folder}: no such artifact")
    if not folder.is_dir():
        raise ArtifactError(f"{folder}: not an artifact: it is a file, and an artifact is a folder")
    if not file.exists():
        raise ArtifactError(f"{folder}: not an artifact, or only half of one: it has no {MANIFEST_NAME}")
    try:
        content = read_regular(file, LARGEST_MANIFEST)
        signer = None if trusted is None else _signer(folder, content, trusted)
        return Artifact(folder, Manifest.from_json(_parsed(content)), signer=signer)
    except OSError as error:
        raise ArtifactError(f"{file}: cannot be read: {error.strerror}") from error
    except ArtifactError as error:
        raise ArtifactError(f"{file}: {error}") from error
    except ValueError as error:
        raise ArtifactError(f"{file}: not a manifest: {first_line(error)}") from error


def _signer(folder: Path, content: bytes, trusted: TrustedKeys) -> str:
    from grandopt.artifacts.signing import signed  # a process that asks for no signature spares its library

    return signed.signer(content, signed.read_signature(folder), trusted)


def _parsed(content: bytes) -> object:
    """The JSON document; raises ValueError, also where a string is no text (half a surrogate pair)."""
    data: object = limits.document(content)
    if b"\\ud" in content.lower():
        json.dumps(data, ensure_ascii=False).encode()
    return data


def write(folder: Path, manifest: Manifest, files: Mapping[str, bytes]) -> Artifact:
    """Write an artifact into `folder`, atomically (see `writing.py`), and return it.

    The manifest's `payload` is filled in from `files`. A missing folder is made, an artifact that lies there
    is replaced; other files of the user in it stay. Concurrent writers are safe: one of them wins.
    Raises OutputError when the place cannot be written or holds something that is not an artifact.
    """
    from grandopt.artifacts.writing import Content, write_folder  # a process that only loads writes nothing

    folder = Path(os.path.realpath(folder))
    for name in files:
        if not is_plain_name(name):
            raise OutputError(f"payload name {name!r} must be a plain file name")
    payload = tuple(_describe(*item) for item in files.items())
    data = replace(manifest, payload=payload).to_json()
    encoded = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    content = Content(
        MANIFEST_NAME, encoded.encode(), {stored_name(entry): files[entry.name] for entry in payload}
    )
    check_replaceable(folder)
    try:
        write_folder(folder, content, present=lambda: _files_of(folder))
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror}") from error
    return Artifact(folder, Manifest.from_json(json.loads(encoded)))  # as every later reader will see it


def check_replaceable(folder: Path) -> None:
    """Raise OutputError unless `write` may use `folder`: it is missing, empty, or holds an older artifact."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file; an artifact is a folder, choose another place")
    try:
        occupied = folder.is_dir() and any(folder.iterdir())
    except OSError as error:
        raise OutputError(f"{folder}: cannot be read: {error.strerror}") from error
    if occupied:
        _files_of(folder)


def stored_name(entry: PayloadFile) -> str:
    """The file name under which a payload lies in the artifact's folder."""
    name = Path(entry.name)
    return f"{name.stem}-{entry.sha256[:16]}{name.suffix}"


def _describe(name: str, content: bytes) -> PayloadFile:
    return PayloadFile(name=name, sha256=hashlib.sha256(content).hexdigest(), size=len(content))


def _files_of(folder: Path) -> set[str]:
    """The names of the files that belong to the artifact in `folder`; OutputError when there is none."""
    try:
        old = read(folder, OWN_BUILD)
    except ArtifactError as error:
        raise OutputError(
            f"{folder}: holds something else and is not overwritten ({error}); choose another folder or "
            f"empty this one"
        ) from error
    return {MANIFEST_NAME, *(stored_name(entry) for entry in old.manifest.payload)}
