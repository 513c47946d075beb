"""One agent's contest: its original, the oracle that knows the right answers, and the candidates.

Every candidate is built and verified at most once. A candidate that cannot run, or that is not the same
agent, stays in the contest with its reason, so that the report can show it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from grandopt.artifacts.artifact import Artifact
from grandopt.compiler import build
from grandopt.compiler.backends.float64 import reference
from grandopt.compiler.build import Candidate
from grandopt.compiler.program import Program
from grandopt.config.schema import EagerOptions
from grandopt.errors import EngineError, EngineUnavailableError, MeasurementError, PassError
from grandopt.measurement.measure import measure
from grandopt.measurement.result import Measurement
from grandopt.measurement.settings import Settings
from grandopt.measurement.subject import Subject
from grandopt.runtime.loader import load
from grandopt.signature import Array
from grandopt.verification.inputs import cases, ring
from grandopt.verification.oracle import Oracle
from grandopt.verification.result import Verification
from grandopt.verification.verify import verify
from grandopt.workflows.agents import Opened
from grandopt.workflows.events import Level
from grandopt.workflows.run import Run

ORIGINAL = "original"
RING = 256

EntryStatus = Literal["verified", "refused", "failed", "unavailable"]


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
        return self.candidate.label if self.threads == 1 else f"{self.candidate.label}@{self.threads}"


class Contest:
    """Builds, verifies and measures the candidates of one agent against its original."""

    def __init__(self, run: Run, opened: Opened, program: Program) -> None:
        self.program = program
        self.original = build.original(program, run.store)
        self.candidates = {
            candidate.label: candidate
            for candidate in build.candidates(program, run.job.profile.engines, run.job.profile.precisions)
        }
        self._run = run
        self._opened = opened
        self._entries: dict[tuple[str, int], Entry] = {}
        self._rings: dict[int, tuple[Array, ...]] = {}
        executor = load(self.original.path, trust=True)
        self.oracle = Oracle.prepare(
            reference(program),
            executor,
            cases(program.signature, samples=opened.samples, seed=run.job.seed),
            program.contract,
            seed=run.job.seed,
        )

    def entry(self, label: str, threads: int = 1) -> Entry:
        """The built and verified candidate `label`; built on the first call only."""
        return self._entered(self.candidates[label], threads)

    def plain(self) -> Entry:
        """The original as an exported program, which runs without the code that defined it."""
        return self._entered(Candidate("float32", EagerOptions()), 1)

    def entries(self) -> list[Entry]:
        """All candidates entered so far, in the order of entering."""
        return list(self._entries.values())

    def _entered(self, candidate: Candidate, threads: int) -> Entry:
        place = (candidate.label, threads)
        if place not in self._entries:
            entry = self._entries[place] = self._enter(candidate, threads)
            if entry.status != "verified":
                line = f"{entry.label} {entry.status}: {entry.reason}"
                level: Level = "warning" if entry.status == "failed" else "info"
                self._run.tell(self.program.name, "verify", line, level=level)
        return self._entries[place]

    def _enter(self, candidate: Candidate, threads: int) -> Entry:
        self._run.tell(self.program.name, "build", candidate.label)
        try:
            artifact = build.build(
                self.program,
                candidate,
                self._run.store,
                threads=threads,
                calibration=self._opened.samples,
            )
            executor = load(artifact.path, trust=True)
        except EngineUnavailableError as error:
            return Entry(candidate, threads, "unavailable", str(error))
        except (EngineError, PassError) as error:
            return Entry(candidate, threads, "failed", str(error))
        try:
            verdict = verify(
                executor, self.oracle, precision=candidate.precision, limits=self._run.job.profile.limits
            )
        finally:
            executor.close()
        if not verdict.passed:
            return Entry(candidate, threads, "refused", verdict.reason, artifact, verdict)
        return Entry(candidate, threads, "verified", None, artifact, verdict)

    def measure(self, entries: list[Entry], settings: Settings) -> Measurement:
        """The original and the given candidates, interleaved in the same worker processes."""
        subjects = [Subject(ORIGINAL, self.original.path, trust=True)]
        subjects += [Subject(entry.label, self.artifact(entry).path, trust=True) for entry in entries]
        return measure(subjects, self.observations(settings.batch), settings, self._run.pool)

    def artifact(self, entry: Entry) -> Artifact:
        """The artifact of an entry; raises MeasurementError for one that could not be built."""
        if entry.artifact is None:
            raise MeasurementError(f"{entry.label} was not built and cannot be measured: {entry.reason}")
        return entry.artifact

    def observations(self, batch: int) -> tuple[Array, ...]:
        """The ring of distinct inputs that measuring rotates through."""
        if batch not in self._rings:
            self._rings[batch] = ring(
                self.program.signature,
                samples=self._opened.samples,
                count=RING,
                batch=batch,
                seed=self._run.job.seed,
            )
        return self._rings[batch]
