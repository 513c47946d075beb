"""`manifest.json`: what an artifact is, what it was made from, and what it needs to run.

Version history
1  first version
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from grandopt.artifacts import fields
from grandopt.errors import ArtifactError, SignatureError
from grandopt.signature import Contract, Signature

MANIFEST_VERSION = 1
WeightsOrigin = Literal["file", "seeded", "memory"]


@dataclass(frozen=True, kw_only=True)
class PayloadFile:
    """One file beside the manifest: its name, SHA-256 (hex) and size in bytes."""

    name: str
    sha256: str
    size: int

    def __post_init__(self) -> None:
        fields.text("name", self.name)
        fields.text("sha256", self.sha256)
        fields.whole("size", self.size, 0)


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the weights came from. `weights` is "seeded" for reference agents, which nobody trained."""

    format: str
    path: str | None = None
    sha256: str | None = None
    weights: WeightsOrigin = "file"
    details: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        fields.text("format", self.format)
        for name in ("path", "sha256"):
            if getattr(self, name) is not None:
                fields.text(name, getattr(self, name))
        fields.text("weights", self.weights, get_args(WeightsOrigin))
        fields.table("details", self.details)

    def to_json(self) -> dict[str, Any]:
        """Plain data, as it is in the manifest."""
        data: dict[str, Any] = fields.plain(vars(self))
        return data

    def noting(self, **details: Any) -> Source:
        """The same source with more `details`."""
        return replace(self, details={**self.details, **details})


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Everything about an artifact but its payload bytes.

    `requires` names the libraries and exact versions the payload was made with ({"torch": "2.13.0"}), and
    `cpu_features` those without which it must not be opened. `evidence` holds the verification and
    measurement summaries of the run that shipped it, and under "recipe" what it takes to do it again; it does
    not enter the digest. Raises ArtifactError,
    which names the field, for a value of the wrong kind; `dataclasses.replace` gives a changed copy.
    """

    format_version: int = MANIFEST_VERSION
    name: str
    engine: str
    precision: str
    options: dict[str, Any] = field(default_factory=dict)
    threads: int = 1
    signature: dict[str, Any]
    contract: dict[str, Any] = field(default_factory=dict)
    source: Source
    passes: tuple[str, ...] = ()
    payload: tuple[PayloadFile, ...]
    requires: dict[str, str] = field(default_factory=dict)
    machine: str
    cpu_features: tuple[str, ...] = ()
    built_by: str
    trusted_only: bool = False
    evidence: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("name", "engine", "precision", "machine", "built_by"):
            fields.text(name, getattr(self, name))
        for name in ("options", "signature", "contract", "requires", "evidence"):
            fields.table(name, getattr(self, name))
        for name in ("passes", "cpu_features"):
            object.__setattr__(self, name, fields.texts(name, getattr(self, name)))
        for library, version in self.requires.items():
            fields.text(f"requires.{library}", version)
        fields.whole("threads", self.threads, 1)
        fields.flag("trusted_only", self.trusted_only)

    @classmethod
    def from_json(cls, data: Any) -> Manifest:
        """The inverse of `to_json`.

        Raises ArtifactError, which names the field: for another format version, for a field that is missing,
        unknown or of the wrong kind, and for a payload that is not a plain file name with a digest.
        """
        if not isinstance(data, Mapping) or "format_version" not in data:
            raise ArtifactError("not a manifest of grandopt: it states no format_version")
        version = data["format_version"]
        if version != MANIFEST_VERSION or isinstance(version, bool):
            raise ArtifactError(
                f"has format version {fields.shown(version)}, this grandopt reads version "
                f"{MANIFEST_VERSION}; build the artifact again, or install the grandopt that wrote it"
            )
        given = fields.fields_of(cls, data)
        given["source"] = _part(Source, given["source"], "source")
        given["payload"] = tuple(
            _part(PayloadFile, item, f"payload.{index}")
            for index, item in enumerate(fields.items("payload", given["payload"]))
        )
        for entry in given["payload"]:
            _check_file(entry)
        return cls(**given)

    def to_json(self) -> dict[str, Any]:
        """Plain data, as it is on disk; raises TypeError where an option or a detail has no form in JSON."""
        payload = [vars(entry) for entry in self.payload]
        data: dict[str, Any] = fields.plain(vars(self) | {"source": vars(self.source), "payload": payload})
        return data

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of all that changes what the artifact computes or how: the identity in cache keys."""
        core = {
            name: value
            for name, value in self.to_json().items()
            if name not in ("evidence", "built_by", "name")
        }
        return hashlib.sha256(json.dumps(core, sort_keys=True).encode()).hexdigest()

    def parsed_signature(self) -> Signature:
        """The signature as an object; raises ArtifactError when it is none."""
        try:
            return Signature.from_json(self.signature)
        except SignatureError as error:
            raise ArtifactError(f"field signature: {error}; build the artifact again") from error

    def parsed_contract(self) -> Contract:
        """The policy contract as an object; raises ArtifactError when it is none."""
        try:
            return Contract.from_json(self.contract)
        except SignatureError as error:
            raise ArtifactError(f"field contract: {error}; build the artifact again") from error


def is_plain_name(name: str) -> bool:
    """Whether `name` is one path component that stays in its folder and is not hidden."""
    return bool(name) and not name.startswith(".") and not any(char in name for char in "/\\\0")


def _part(kind: type[Any], data: Any, where: str) -> Any:
    try:
        return kind(**fields.fields_of(kind, data))
    except ArtifactError as error:
        raise ArtifactError(f"{where}: {error}") from error


def _check_file(entry: PayloadFile) -> None:
    digest = len(entry.sha256) == 64 and all(char in "0123456789abcdef" for char in entry.sha256)
    if not digest or not is_plain_name(entry.name):
        raise ArtifactError(
            f"field payload: {fields.shown(entry.name)} with SHA-256 {fields.shown(entry.sha256)} is not a "
            f"plain file name with a digest"
        )
