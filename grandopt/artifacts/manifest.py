"""`manifest.json`: what an artifact is, what it was made from, and what it needs to run.

Version history
1  first version
2  states its digest, which is compared when it is read; `known_defect` was one of the options at first
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

MANIFEST_VERSION = 2
STATES_DIGEST = 2
"""The first version that states its digest. Earlier ones are read as they are: engines compare what they say
with the payload itself."""
UNCOVERED = frozenset({"evidence", "built_by", "name"})
"""Fields that change nothing about a call, and do not enter the digest."""
KNOWN_DEFECT = "known_defect"
"""A field, left out where nothing is known; the first manifests of version 2, and all of version 1, have it
among the options."""
CARRIED = "carried.pt2"
"""The payload file that no call needs: the program that the artifact was made from, for exports."""
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
    `cpu_features` those without which it must not be opened. `known_defect` says what is known to be wrong
    with the engine's kernels for this agent, where something is. `evidence` holds the verification and
    measurement summaries of the run that shipped it, under "recipe" what it takes to do it again, and under
    "observations" and "margins" how inputs and decisions usually are; it does not enter the digest. On disk a
    manifest states its digest as well. Raises ArtifactError, which names the field, for a value of
    the wrong kind; `dataclasses.replace` gives a changed copy.
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
    known_defect: str | None = None
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
        if self.known_defect is not None:
            fields.text(KNOWN_DEFECT, self.known_defect)

    @classmethod
    def from_json(cls, data: Any) -> Manifest:
        """The inverse of `to_json`.

        Raises ArtifactError, which names the field: for another format version, for a field that is missing,
        unknown or of the wrong kind, for a payload that is not a plain file name with a digest, and where
        the digest that is stated is not that of the fields.
        """
        if not isinstance(data, Mapping) or "format_version" not in data:
            raise ArtifactError("not a manifest of grandopt: it states no format_version")
        version = data["format_version"]
        if type(version) is not int or not 1 <= version <= MANIFEST_VERSION:
            raise ArtifactError(
                f"has format version {fields.shown(version)}, this grandopt reads versions 1 to "
                f"{MANIFEST_VERSION}; build the artifact again, or install the grandopt that wrote it"
            )
        manifest = cls._from_fields({name: value for name, value in data.items() if name != "digest"})
        if version >= STATES_DIGEST and data.get("digest") != manifest.digest:
            raise ArtifactError(
                f"field digest: is {fields.shown(data.get('digest'))}, but the other fields have "
                f"{manifest.digest}: the manifest was changed after it was written; build the artifact again"
            )
        return manifest

    @classmethod
    def _from_fields(cls, data: Mapping[str, Any]) -> Manifest:
        given = fields.fields_of(cls, data)
        given["source"] = _part(Source, given["source"], "source")
        given["payload"] = tuple(
            _part(PayloadFile, item, f"payload.{index}")
            for index, item in enumerate(fields.items("payload", given["payload"]))
        )
        for entry in given["payload"]:
            _check_file(entry)
        options = given.get("options")
        if isinstance(options, Mapping) and KNOWN_DEFECT in options and KNOWN_DEFECT not in given:
            given["options"] = {name: value for name, value in options.items() if name != KNOWN_DEFECT}
            given[KNOWN_DEFECT] = options[KNOWN_DEFECT]
        return cls(**given)

    def to_json(self) -> dict[str, Any]:
        """Plain data, as it is on disk; raises TypeError where an option or a detail has no form in JSON."""
        data = self._plain(vars(self))
        if self.known_defect is None:
            del data[KNOWN_DEFECT]
        return data if self.format_version < STATES_DIGEST else data | {"digest": self.digest}

    def _plain(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        payload = [vars(entry) for entry in self.payload]
        data: dict[str, Any] = fields.plain({**chosen, "source": vars(self.source), "payload": payload})
        return data

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of all that changes what the artifact computes or how: the identity in cache keys.

        A known defect counts where it was stated at first: an artifact has one digest, whoever wrote it.
        """
        covered = {name: value for name, value in vars(self).items() if name not in UNCOVERED}
        defect = covered.pop(KNOWN_DEFECT)
        if defect is not None:
            covered["options"] = {**self.options, KNOWN_DEFECT: defect}
        core = self._plain(covered)
        return hashlib.sha256(json.dumps(core, sort_keys=True).encode()).hexdigest()

    @property
    def needed(self) -> tuple[PayloadFile, ...]:
        """The payload but for the program that is only carried: what the agent is called with."""
        return tuple(entry for entry in self.payload if entry.name != CARRIED)

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
