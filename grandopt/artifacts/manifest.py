"""`manifest.json`: what an artifact is, what it was made from, and what it needs to run.

Version history
1  first version
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from grandopt.signature import Contract, Signature, state_from_json

MANIFEST_VERSION = 1


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PayloadFile(_Model):
    """One file beside the manifest: its name, SHA-256 (hex) and size in bytes."""

    name: str
    sha256: str
    size: int = Field(ge=0)


class Source(_Model):
    """Where the weights came from. `weights` is "seeded" for reference agents, which nobody trained."""

    format: str
    path: str | None = None
    sha256: str | None = None
    weights: Literal["file", "seeded", "memory"] = "file"
    details: dict[str, Any] = Field(default_factory=dict)


class Manifest(_Model):
    """Everything about an artifact but its payload bytes.

    `requires` names the libraries and exact versions the payload was made with ({"torch": "2.13.0"}), and
    `cpu_features` those without which it must not be opened. `evidence` holds the verification and
    measurement summaries of the run that shipped it; it does not enter the digest.
    """

    format_version: Literal[1] = 1
    name: str
    engine: str
    precision: str
    options: dict[str, Any] = Field(default_factory=dict)
    threads: int = Field(default=1, ge=1)
    signature: dict[str, Any]
    contract: dict[str, Any] = Field(default_factory=dict)
    source: Source
    passes: tuple[str, ...] = ()
    payload: tuple[PayloadFile, ...]
    requires: dict[str, str] = Field(default_factory=dict)
    machine: str
    cpu_features: tuple[str, ...] = ()
    built_by: str
    trusted_only: bool = False
    evidence: dict[str, Any] = Field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of all that changes what the artifact computes or how: the identity in cache keys."""
        core = self.model_dump(mode="json", exclude={"evidence", "built_by", "name"})
        return hashlib.sha256(json.dumps(core, sort_keys=True).encode()).hexdigest()

    def parsed_signature(self) -> Signature:
        """The signature as an object."""
        return Signature.from_json(self.signature)

    def parsed_contract(self) -> Contract:
        """The policy contract as an object."""
        fields: dict[str, Any] = {
            key: tuple(v) if isinstance(v, list) else v for key, v in self.contract.items()
        }
        for bound, infinite in (("low", -math.inf), ("high", math.inf)):
            if fields.get(bound) is not None:
                # JSON has no infinity: an element without a bound is null there.
                fields[bound] = tuple(infinite if value is None else value for value in fields[bound])
        return Contract(**{**fields, "state": state_from_json(fields.get("state", ()))})
