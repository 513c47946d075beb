"""One candidate, built and verified: what a build process does, and what is known of it afterwards."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from grandopt.artifacts.artifact import Artifact
from grandopt.artifacts.store import Store
from grandopt.compiler import build
from grandopt.compiler.build import Candidate
from grandopt.compiler.identity import compiler_identity, graph_digest
from grandopt.compiler.program import Program
from grandopt.config.schema import Limits
from grandopt.errors import ArtifactError, EngineError, EngineUnavailableError, PassError
from grandopt.measurement.environment import environment
from grandopt.runtime.loader import load
from grandopt.signature import Array
from grandopt.verification.oracle import Oracle
from grandopt.verification.result import Verification
from grandopt.verification.verify import verify
from grandopt.workflows.code import code_digest, library_versions

EntryStatus = Literal["verified", "refused", "failed", "unavailable", "not measured"]

BUDGET_USED = "the time budget was used up"
VERIFYING = ("verification", "runtime", "signature.py")
"""The parts of grandopt that decide how a candidate is called and judged."""


@dataclass(frozen=True)
class Contestant:
    """All that building and verifying an agent's candidates takes; `questions` is `asked(oracle)`."""

    program: Program
    oracle: Oracle
    candidates: Mapping[str, Candidate]
    limits: Limits
    questions: str
    samples: tuple[Array, ...] | None = None


@dataclass(frozen=True)
class Entry:
    """A candidate at a thread count, after building and verifying."""

    candidate: Candidate
    threads: int
    status: EntryStatus
    reason: str | None = None
    artifact: Artifact | None = None
    verification: Verification | None = None

    @property
    def label(self) -> str:
        """Name in tables and in the study: the candidate's, with the threads where they are not 1."""
        return placed(self.candidate.label, self.threads)


def placed(label: str, threads: int) -> str:
    """The name of a candidate at a thread count."""
    return label if threads == 1 else f"{label}@{threads}"


def enter(agent: Contestant, candidate: Candidate, store: Store, threads: int) -> Entry:
    """Build, load and verify a candidate; what goes wrong is its status and reason."""
    try:
        artifact = build.build(agent.program, candidate, store, threads=threads, calibration=agent.samples)
        executor = load(artifact.path, trust=True)
    except EngineUnavailableError as error:
        return Entry(candidate, threads, "unavailable", str(error))
    except (EngineError, PassError, ArtifactError) as error:
        return Entry(candidate, threads, "failed", str(error))
    try:
        verdict = verify(executor, agent.oracle, precision=candidate.precision, limits=agent.limits)
    finally:
        executor.close()
    note = json.dumps({"verification": verdict.to_json()}).encode()
    store.put_note(_verdict_key(agent, candidate, artifact), note)
    return _judged(candidate, threads, artifact, verdict)


def known(agent: Contestant, candidate: Candidate, store: Store, threads: int) -> Entry | None:
    """The candidate as an earlier run built it and verified it in the same way, from the store; else None."""
    artifact = store.get(build.key(agent.program, candidate, threads, agent.samples))
    if artifact is None:
        return None
    note = store.note(_verdict_key(agent, candidate, artifact))
    if note is None:
        return None
    try:
        verdict = Verification.from_json(json.loads(note)["verification"])
    except (ValueError, TypeError, KeyError):  # of a grandopt with other fields: verified again
        return None
    return _judged(candidate, threads, artifact, verdict)


def _judged(candidate: Candidate, threads: int, artifact: Artifact, verdict: Verification) -> Entry:
    if not verdict.passed:
        defect = artifact.manifest.options.get("known_defect")
        reason = verdict.reason if defect is None else f"{verdict.reason} (known: {defect})"
        return Entry(candidate, threads, "refused", reason, artifact, verdict)
    return Entry(candidate, threads, "verified", None, artifact, verdict)


def _verdict_key(agent: Contestant, candidate: Candidate, artifact: Artifact) -> str:
    parts: list[Any] = [
        "verdict",
        artifact.manifest.digest,
        graph_digest(agent.program),
        candidate.precision,
        agent.limits.model_dump(),
        agent.questions,
        compiler_identity(),
        code_digest(VERIFYING),
        environment().identity,
        library_versions([artifact]),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def asked(oracle: Oracle) -> str:
    """SHA-256 (hex) of everything that the oracle asks and of the answers that it expects."""
    digest = hashlib.sha256()
    for item in (*oracle.known, *oracle.probes):
        digest.update(f"{item.case.name} {item.case.kind}".encode())
        for array in (*item.case.inputs, *item.expected, *item.truth, item.margins):
            digest.update(f"{array.dtype} {array.shape}".encode())
            digest.update(array.tobytes())
    digest.update(repr((oracle.spreads, oracle.margin_yardstick, oracle.groups)).encode())
    if oracle.steps is not None:
        digest.update(asked(oracle.steps).encode())
    return digest.hexdigest()
