"""One candidate, built and verified: what a build process does and answers, and what is known of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from grandopt.artifacts.artifact import Artifact
from grandopt.artifacts.store import Store
from grandopt.compiler import build
from grandopt.compiler.build import Candidate
from grandopt.compiler.identity import compiler_identity, graph_digest
from grandopt.compiler.program import Program
from grandopt.config.engines import ALIKE
from grandopt.config.schema import Limits
from grandopt.errors import ArtifactError, EngineError, EngineUnavailableError, PassError
from grandopt.measurement.environment import environment
from grandopt.measurement.process.forked import apart
from grandopt.reason import Reason, ReasonCode
from grandopt.runtime.loader import load
from grandopt.signature import Array
from grandopt.verification.excerpt import excerpt
from grandopt.verification.oracle import Oracle
from grandopt.verification.result import Verification
from grandopt.verification.verify import verify
from grandopt.workflows.building.request import BuildStatus
from grandopt.workflows.memo.fingerprint import code_digest, library_versions

ORIGINAL = "original"
BUDGET_USED = "the time budget was used up"
NOT_BUILT = Reason(ReasonCode.NOT_BUILT_IN_TIME, BUDGET_USED, "--budget SECONDS")
"""Of a candidate whose build was not begun, or was ended, when there was no more time."""

VERIFYING = ("verification", "runtime", "signature.py")
"""The parts of grandopt that decide how a candidate is called and judged."""


@dataclass(frozen=True)
class BuildInputs:
    """All that building and verifying an agent's candidates takes.

    `questions` is `question_digest(oracle)`, `calibration` what some of the builds look at.
    """

    program: Program
    oracle: Oracle
    candidates: Mapping[str, Candidate]
    limits: Limits
    questions: str
    calibration: tuple[Array, ...] | None = None

    def grounds(self, candidate: Candidate) -> tuple[Array, ...] | None:
        """The observations that a build of this candidate looks at: those that it will be asked about where
        it weighs its layers, else the calibration."""
        return excerpt(self.oracle, ALIKE) if candidate.weighs else self.calibration


@dataclass(frozen=True)
class BuiltCandidate:
    """A candidate at a thread count, after building and verifying; what is not verified has its reason.

    The original as it came is one, too: nothing was done to it, so that it has no verification.
    """

    candidate: Candidate
    threads: int
    status: BuildStatus
    reason: Reason | None = None
    artifact: Artifact | None = None
    verification: Verification | None = None
    is_original: bool = False

    def __post_init__(self) -> None:
        if (self.status == "verified") != (self.reason is None):
            raise ValueError(f"{self.label} is {self.status!r}, and its reason is {self.reason!r}")

    @property
    def label(self) -> str:
        """Name in tables and in the study: the candidate's, with the threads where they are not 1."""
        return ORIGINAL if self.is_original else variant_name(self.candidate.label, self.threads)


def variant_name(label: str, threads: int) -> str:
    """The name of a candidate at a thread count."""
    return label if threads == 1 else f"{label}@{threads}"


def build_and_verify(agent: BuildInputs, candidate: Candidate, store: Store, threads: int) -> BuiltCandidate:
    """Build, load and verify a candidate; what goes wrong is its status and reason."""
    try:
        artifact = build.build(
            agent.program, candidate, store, threads=threads, calibration=agent.grounds(candidate)
        )
        verdict = _verdict(agent, candidate, artifact)
    except EngineUnavailableError as error:
        return BuiltCandidate(candidate, threads, "unavailable", Reason.of(error))
    except (EngineError, PassError, ArtifactError) as error:
        return BuiltCandidate(candidate, threads, "failed", Reason.of(error))
    note = json.dumps({"verification": verdict.to_json()}).encode()
    store.put_note(_verdict_key(agent, candidate, artifact), note)
    return _judged(candidate, threads, artifact, verdict)


def _verdict(agent: BuildInputs, candidate: Candidate, artifact: Artifact) -> Verification:
    """Load and verify it; our own generated code is called in a process that nothing else depends on."""
    executor = load(artifact.path, trust=True)
    try:
        judge = partial(verify, executor, agent.oracle, precision=candidate.precision, limits=agent.limits)
        if not candidate.options.ours:
            return judge()
        return Verification.from_json(apart(lambda: judge().to_json()))
    finally:
        executor.close()


def load_cached(
    agent: BuildInputs, candidate: Candidate, store: Store, threads: int
) -> BuiltCandidate | None:
    """The candidate as an earlier run built it and verified it in the same way, from the store; else None."""
    artifact = store.get(build.key(agent.program, candidate, threads, agent.grounds(candidate)))
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


def _judged(candidate: Candidate, threads: int, artifact: Artifact, verdict: Verification) -> BuiltCandidate:
    if verdict.reason is not None:
        defect, reason = artifact.manifest.known_defect, verdict.reason
        if defect is not None:
            reason = replace(reason, text=f"{reason.text} (known: {defect})")
        return BuiltCandidate(candidate, threads, "refused", reason, artifact, verdict)
    return BuiltCandidate(candidate, threads, "verified", None, artifact, verdict)


def _verdict_key(agent: BuildInputs, candidate: Candidate, artifact: Artifact) -> str:
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


def question_digest(oracle: Oracle) -> str:
    """SHA-256 (hex) of everything that the oracle asks and of the answers that it expects."""
    digest = hashlib.sha256()
    for item in (*oracle.known, *oracle.probes):
        digest.update(f"{item.case.name} {item.case.kind}".encode())
        zeros = item.flushed or ()
        for array in (*item.case.inputs, *item.expected, *item.truth, *zeros, item.margins):
            digest.update(f"{array.dtype} {array.shape}".encode())
            digest.update(array.tobytes())
    digest.update(repr((oracle.spreads, oracle.margin_yardstick, oracle.groups)).encode())
    digest.update(repr((oracle.evidence, oracle.exercise, oracle.undeclared)).encode())
    for part in (oracle.steps, oracle.wide):
        if part is not None:
            digest.update(question_digest(part).encode())
    return digest.hexdigest()
