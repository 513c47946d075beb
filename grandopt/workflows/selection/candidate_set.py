"""One agent's candidate set: its original, the oracle that knows the right answers, and the candidates.

Every candidate is built and verified at most once. A candidate that cannot run, or that is not the same
agent, stays in the candidate set with its reason, so that the report can show it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from grandopt.artifacts.artifact import Artifact
from grandopt.compiler import build
from grandopt.compiler.backends.float64 import reference
from grandopt.compiler.build import Candidate
from grandopt.compiler.identity import compiler_identity, graph_digest
from grandopt.compiler.program import Program
from grandopt.errors import BuildError, MeasurementError
from grandopt.measurement.measure import measure
from grandopt.measurement.result import Measurement
from grandopt.measurement.settings import MeasurementSettings
from grandopt.measurement.subject import Subject
from grandopt.reason import Reason, ReasonCode
from grandopt.reporting.admission import evidence_words
from grandopt.runtime.loader import load
from grandopt.signature import Array
from grandopt.verification.episodes import with_states
from grandopt.verification.inputs import ring
from grandopt.workflows.building.built import (
    NOT_BUILT,
    BuildInputs,
    BuiltCandidate,
    build_and_verify,
    load_cached,
    question_digest,
    variant_name,
)
from grandopt.workflows.building.request import BuildResult, BuildStatus, Deadline, Expected, Variant
from grandopt.workflows.building.worker import write_transfer
from grandopt.workflows.events import Level
from grandopt.workflows.job import Run, Stages
from grandopt.workflows.memo.earlier_runs import EarlierRuns
from grandopt.workflows.memo.other_machines import OtherMachines
from grandopt.workflows.memo.programs import capture_or_load
from grandopt.workflows.memo.reference_answers import KnownAnswers
from grandopt.workflows.open_agents import OpenedAgent
from grandopt.workflows.records import evidence_report
from grandopt.workflows.selection.input_evidence import (
    calibration,
    known_of_inputs,
    limits_of,
    oracle_of,
)

RING = 256


class CandidateSet:
    """Builds, verifies and measures the candidates of one agent against its original."""

    def __init__(self, run: Run, opened: OpenedAgent, program: Program) -> None:
        wanted = run.job.profile.engines, run.job.profile.precisions
        self.evidence = known_of_inputs(opened)
        """What is known of the agent's inputs."""
        recorded, there = opened.samples is not None, self.evidence.there
        realtime = opened.config.realtime
        missed = build.left_out(program, *wanted, samples=recorded, evidence=there, realtime=realtime)
        self.program = program.but(identity=program.identity, refusals=(*program.refusals, *missed))
        came = build.original(program, run.store)
        kept_as = build.original_candidate(program, came)
        self.original = BuiltCandidate(kept_as, 1, "verified", artifact=came, is_original=True)
        """The agent as it came, which every candidate is compared with."""
        self.candidates = {
            candidate.label: candidate
            for candidate in build.candidates(
                program,
                *wanted,
                every=run.job.profile.name == "maximum",
                samples=recorded,
                evidence=there,
                levels=run.job.levels,
                limits=limits_of(run.job.profile.limits, self.evidence),
                realtime=realtime,
            )
        }
        self._run = run
        self._opened = opened
        self._builds: dict[Variant, BuiltCandidate] = {}
        self._verified_here: set[Variant] = set()
        self._rings: dict[int, tuple[Array, ...]] = {}
        identity = [graph_digest(program), *compiler_identity().values()]
        answers = KnownAnswers(partial(reference, program), run.store, identity)
        executor = load(came.path, trust=True)
        self.samples = None if opened.samples is None else with_states(executor, opened.samples)
        """The observations that the user recorded, with the states that the agent has at each."""
        self.oracle = oracle_of(
            self.evidence,
            program,
            answers,
            executor,
            self.samples,
            run.job.seed,
            observed=opened.samples,
            declared=bool(opened.checkpoint.output_roles) or program.contract.action != "none",
        )
        answers.keep()
        self.build_inputs = BuildInputs(
            program,
            self.oracle,
            self.candidates,
            run.job.profile.limits,
            question_digest(self.oracle),
            calibration(self.evidence, program, self.samples, run.job.seed),
        )
        self.earlier = EarlierRuns(run, self.build_inputs, self.candidates)
        shared = run.shared
        self._sharing = None if shared is None else OtherMachines(shared, self.earlier)
        self.continued = 0
        """How many builds were begun here that an earlier run had no time for."""
        self._tell("reference", evidence_words(evidence_report(self.oracle)))

    def build(
        self,
        variants: Sequence[Variant],
        deadline: Deadline,
        expected: Mapping[Variant, Expected] | None = None,
    ) -> list[BuildResult]:
        """Build and verify these candidates, in order, in parallel build processes, until the deadline.

        What an earlier run built and verified is taken from the store, what failed then is not tried again,
        and what it had no time for is. An agent that cannot be handed to another process is built in this
        one, one candidate after the other. Returns what build processes did.
        """
        missing = self.missing(variants, deadline)
        if not missing:
            return []
        if self._usable:
            deadline = replace(deadline, last=deadline.enough)
        results: list[BuildResult] = []
        with tempfile.TemporaryDirectory(prefix="grandopt-") as name:
            try:
                write_transfer(self.build_inputs, Path(name))
            except BuildError as error:
                self._tell("build", f"built in this process: {error}", level="warning")
                self._build_here(missing, deadline)
                return []
            news = partial(self._tell_builds, len(missing))
            builders, store = self._run.builders, self._run.store
            for result in builders.build(Path(name), missing, store, deadline, news, expected, self._sharing):
                self._record(result.variant, self._loaded(result))
                self.earlier.keep(result, deadline.given_s)
                results.append(result)
        self.continued += sum(
            result.seconds > 0 and result.variant in self.earlier.goes_on_with for result in results
        )
        return results

    def missing(self, variants: Sequence[Variant], deadline: Deadline) -> list[Variant]:
        """Those of them that have to be built; the others are recorded as earlier runs found them."""
        missing = [variant for variant in variants if not self._enter(self.earlier.built(variant))]
        missing = [variant for variant in missing if not self._impossible(variant)]
        seconds, usable = deadline.enough - time.monotonic(), self._usable
        return [
            variant
            for variant in missing
            if not self._enter(
                self.earlier.failed(variant, seconds, retried=not usable or variant == deadline.certain)
            )
        ]

    def skip(self, variant: Variant, reason: Reason, status: BuildStatus = "not measured") -> None:
        """Enter a candidate as one that is not built here, with the reason."""
        self._record(variant, BuiltCandidate(self.candidates[variant[0]], variant[1], status, reason))

    @property
    def _usable(self) -> bool:
        return any(built.status == "verified" for built in self._builds.values())

    def _enter(self, built: BuiltCandidate | None) -> bool:
        if built is not None:
            self._record((built.candidate.label, built.threads), built)
        return built is not None

    def _impossible(self, variant: Variant) -> bool:
        """Whether no time could suffice to build it; then that is recorded, with the reason."""
        reason = build.impossible(self.program, self.candidates[variant[0]])
        if reason is not None:
            self._record(variant, BuiltCandidate(self.candidates[variant[0]], variant[1], "failed", reason))
        return reason is not None

    def build_one(self, label: str, threads: int = 1) -> BuiltCandidate:
        """The built and verified candidate `label`; built here and now on the first call."""
        variant = (label, threads)
        if variant not in self._builds:
            self._tell("build", variant_name(label, threads))
            self._record(variant, self._load_or_build(self.candidates[label], threads))
        return self._builds[variant]

    def build_now(self, candidate: Candidate, threads: int = 1) -> BuiltCandidate:
        """A candidate built and verified here and now, whether it is one of the set's own or not."""
        built = build_and_verify(self.build_inputs, candidate, self._run.store, threads)
        self._record((candidate.label, threads), built)
        return built

    def build_exported_original(self) -> BuiltCandidate:
        """The original as an exported program, which runs without the code that defined it."""
        candidate = build.EXPORTED_ORIGINAL
        variant = (candidate.label, 1)
        if variant not in self._builds:
            self._record(variant, self._load_or_build(candidate, 1))
        return self._builds[variant]

    def builds(self) -> list[BuiltCandidate]:
        """All candidates recorded so far, in that order."""
        return list(self._builds.values())

    def verify_again(self, built: BuiltCandidate) -> BuiltCandidate:
        """Verify once more what is to be shipped, for which a kept verdict is not enough; one that this
        process itself came to in this run is."""
        variant = (built.candidate.label, built.threads)
        if variant not in self._verified_here:
            self._record(variant, self._build_and_verify(built.candidate, built.threads))
        return self._builds[variant]

    def drop(self, built: BuiltCandidate, reason: Reason) -> None:
        """Take a candidate out of the candidate set that was verified but turned out not to be usable."""
        dropped = replace(built, status="failed", reason=reason)
        self._record((built.candidate.label, built.threads), dropped)

    def _load_or_build(self, candidate: Candidate, threads: int) -> BuiltCandidate:
        kept = load_cached(self.build_inputs, candidate, self._run.store, threads)
        return kept or self._build_and_verify(candidate, threads)

    def _build_and_verify(self, candidate: Candidate, threads: int) -> BuiltCandidate:
        self._verified_here.add((candidate.label, threads))
        return build_and_verify(self.build_inputs, candidate, self._run.store, threads)

    def _record(self, variant: Variant, built: BuiltCandidate) -> None:
        self._builds[variant] = built
        if built.status != "verified":
            level: Level = "warning" if built.status == "failed" else "info"
            self._tell("verify", f"{built.label} {built.status}: {built.reason}", level=level)

    def _build_here(self, variants: Sequence[Variant], deadline: Deadline) -> None:
        for label, threads in variants:
            if time.monotonic() < deadline.until(self._usable) or (label, threads) == deadline.certain:
                self.build_one(label, threads)
                self.continued += (label, threads) in self.earlier.goes_on_with
            else:
                late = BuiltCandidate(self.candidates[label], threads, "not measured", NOT_BUILT)
                self._record((label, threads), late)

    def _loaded(self, result: BuildResult) -> BuiltCandidate:
        label, threads = result.variant
        candidate = self.candidates[label]
        if result.status in ("verified", "refused"):
            built = load_cached(self.build_inputs, candidate, self._run.store, threads)
            if built is not None:
                return built
            lost = "its artifact is no longer in the store, or not under the key it was built for"
            return BuiltCandidate(candidate, threads, "failed", Reason(ReasonCode.ARTIFACT_LOST, lost))
        return BuiltCandidate(candidate, threads, result.status, result.reason)

    def _tell_builds(self, total: int, running: Sequence[Variant], done: Sequence[BuildResult]) -> None:
        names = ", ".join(variant_name(*variant) for variant in running)
        self._tell("build", f"{len(done)} of {total} done, now {names}")

    def _tell(self, step: str, message: str, level: Level = "info") -> None:
        self._run.tell(self.program.name, step, message, level=level)

    def measure(
        self, builds: list[BuiltCandidate], settings: MeasurementSettings, *, first: int = 0
    ) -> Measurement:
        """The original and the given candidates, interleaved in the same processes, from `first` on."""
        subjects = [self.subject(built) for built in (self.original, *builds)]
        return measure(subjects, self.observations(settings.batch), settings, self._run.pool, first=first)

    def subject(self, built: BuiltCandidate) -> Subject:
        """A built candidate as what is measured; raises MeasurementError for one that could not be built."""
        return Subject(built.label, self.artifact(built).path, trust=True)

    def artifact(self, built: BuiltCandidate) -> Artifact:
        """The artifact of a built candidate; raises MeasurementError for one that could not be built."""
        if built.artifact is None:
            raise MeasurementError(f"{built.label} was not built and cannot be measured: {built.reason}")
        return built.artifact

    def observations(self, batch: int) -> tuple[Array, ...]:
        """The ring of distinct inputs that measuring rotates through."""
        if batch not in self._rings:
            self._rings[batch] = ring(
                self.program.signature,
                samples=self.samples,
                moments=self.evidence.moments,
                count=RING,
                batch=batch,
                seed=self._run.job.seed,
            )
        return self._rings[batch]


def prepare_candidates(run: Run, opened: OpenedAgent, stages: Stages) -> CandidateSet:
    """The agent's candidate set, with no candidate built yet; the steps are "capture" and "reference".

    Raises SignatureError when the declared inputs do not fit, and any other GrandoptError when the original
    itself cannot be run.
    """
    name = opened.name
    with stages.step("capture"):
        run.tell(name, "capture", f"{opened.checkpoint.source.format} checkpoint")
        for found in opened.checkpoint.statistics:
            used = "folded in" if found.used else f"not used: {found.reason}"
            level: Level = "info" if found.used else "warning"
            run.tell(name, "statistics", f"{found.place} ({found.kind}) {used}", level=level)
        program = capture_or_load(opened.checkpoint, run.store, run.job.seed, resume=run.job.resume)
        for item in program.refusals:
            run.tell(name, "capture", f"{item.stage}: {item.reason}", level="warning")
    with stages.step("reference"):
        run.tell(name, "reference", "the original in float64")
        return CandidateSet(run, opened, program)
