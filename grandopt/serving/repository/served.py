"""One agent that is served: its name, its version, and what computes its answers."""

from __future__ import annotations

from typing import NamedTuple

from grandopt.errors import ArtifactError
from grandopt.runtime.engine.served import ServedAgent
from grandopt.runtime.engine.version import Version
from grandopt.serving.repository.layout import Candidate
from grandopt.signature import Contract, Signature

DIGITS = 12
"""From so many digits on the digest of an artifact is accepted as its version."""


class Served(NamedTuple):
    """A version of an agent behind a name of the protocol."""

    name: str
    version: str
    digest: str
    engine: str
    loaded: Version
    agent: ServedAgent

    @property
    def signature(self) -> Signature:
        """Its inputs and outputs."""
        return self.loaded.signature

    @property
    def contract(self) -> Contract:
        """What its outputs mean, and its state."""
        return self.loaded.contract

    def is_called(self, version: str) -> bool:
        """Whether `version` is this one: its name, or its digest from its first 12 digits on."""
        return version == self.version or (len(version) >= DIGITS and self.digest.startswith(version))

    def is_of(self, version: str, digest: str) -> bool:
        """Whether it is that build as that version."""
        return (version, digest) == (self.version, self.digest)


def check_served(candidate: Candidate, signature: Signature) -> None:
    """Raise ArtifactError for an agent that the protocol cannot describe."""
    if not signature.outputs:
        raise ArtifactError(f"{candidate.path}: declares no outputs; build it again")
    names = [spec.name for spec in signature.outputs]
    if len(set(names)) != len(names):
        raise ArtifactError(
            f"{candidate.path}: two outputs have one name: {', '.join(names)}; build it again"
        )
