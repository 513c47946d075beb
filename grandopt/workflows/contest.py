"""One agent's contest: its original, the oracle that knows the right answers, and the candidates.

Every candidate is built and verified at most once. A candidate that cannot run, or that is not the same
agent, stays in the contest with its reason, so that the report can show it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from grandopt.artifacts.artifact import Artifact
from grandopt.compiler import build
from grandopt.compiler.backends.float64 import reference
from grandopt.compiler.build import Candidate
from grandopt.compiler.identity import compiler_identity, graph_digest
from grandopt.compiler.program import Program
from grandopt.config.schema import EagerOptions
from grandopt.errors import BuildError, MeasurementError
from grandopt.measurement.environment import crowded
from grandopt.measurement.measure import measure
from grandopt.measurement.result import Measurement
from grandopt.measurement.settings import Settings
from grandopt.measurement.subject import Subject
from grandopt.runtime.loader import load
from grandopt.signature import Array
from grandopt.verification.drift import with_episodes
from grandopt.verification.episodes import episodes, with_states
from grandopt.verification.inputs import cases, ring
from grandopt.verification.oracle import Oracle
from grandopt.workflows.agents import Opened
from grandopt.workflows.builders import Outcome, Patience, Place
from grandopt.workflows.entry import (
    BUDGET_USED,
    Contestant,
    Entry,
    EntryStatus,
    asked,
    enter,
    known,
    placed,
)
from grandopt.workflows.events import Level
from grandopt.workflows.handover import hand_over
from grandopt.workflows.known_answers import KnownAnswers
from grandopt.workflows.run import Run
from grandopt.workflows.setbacks import Setbacks

ORIGINAL = "original"
RING = 256


class Contest:
    """Builds, verifies and measures the candidates of one agent against its original."""

    def __init__(self, run: Run, opened: Opened, program: Program) -> None:
        wanted = run.job.profile.engines, run.job.profile.precisions
        missed = () if opened.samples is not None else build.left_out(program, *wanted)
        self.program = program.but(identity=program.identity, refusals=(*program.refusals, *missed))
        self.original = build.original(program, run.store)
        self.candidates = {
            candidate.label: candidate
            for candidate in build.candidates(
                program,
                *wanted,
                every=run.job.profile.name == "maximum",
                samples=opened.samples is not None,
            )
        }
        self._run = run
        self._opened = opened
        self._setbacks = Setbacks(run.store, run.job.resume)
        self._entries: dict[Place, Entry] = {}
        self._rings: dict[int, tuple[Array, ...]] = {}
        identity = [graph_digest(program), *compiler_identity().values()]
        answers = KnownAnswers(partial(reference, program), run.store, identity)
        executor = load(self.original.path, trust=True)
        self.samples = None if opened.samples is None else with_states(executor, opened.samples)
        """The observations that the user recorded, with the states that the agent has at each."""
        self.oracle = with_episodes(
            Oracle.prepare(
                answers,
                executor,
                cases(program.signature, samples=self.samples, seed=run.job.seed),
                program.contract,
                seed=run.job.seed,
            ),
            answers,
            executor,
            episodes(program.signature, program.contract, samples=opened.samples, seed=run.job.seed),
            seed=run.job.seed,
        )
        answers.keep()
        self._contestant = Contestant(
            program,
            self.oracle,
            self.candidates,
            run.job.profile.limits,
            asked(self.oracle),
            self.samples,
        )

    def build(self, places: Sequence[Place], patience: Patience) -> None:
        """Enter these candidates, in order, in parallel build processes, as long as there is patience.

        What an earlier run built and verified is taken from the store, and what failed then is not tried
        again. An agent that cannot be handed to another process is built in this one, one candidate after
        the other.
        """
        missing = [place for place in places if not self._remembered(place)]
        usable = any(entry.status == "verified" for entry in self._entries.values())
        missing = [place for place in missing if not self._failed_before(place, usable)]
        if not missing:
            return
        if usable:
            patience = replace(patience, last=patience.enough)
        with tempfile.TemporaryDirectory(prefix="grandopt-") as name:
            try:
                hand_over(self._contestant, Path(name))
            except BuildError as error:
                self._tell("build", f"built in this process: {error}", level="warning")
                self._build_here(missing, patience)
                return
            news = partial(self._tell_builds, len(missing))
            for outcome in self._run.builders.build(Path(name), missing, self._run.store, patience, news):
                self._enter(outcome.place, self._ended(outcome))
                self._keep_setback(outcome)

    def _remembered(self, place: Place) -> bool:
        """Whether an earlier run built and verified it; then it is entered so."""
        if not self._run.job.resume:
            return False
        entry = known(self._contestant, self.candidates[place[0]], self._run.store, place[1])
        if entry is not None:
            self._enter(place, entry)
        return entry is not None

    def _failed_before(self, place: Place, usable: bool) -> bool:
        """Whether an earlier run could not build it; then it is entered so.

        What was too slow then is tried again with a larger budget, or where no other candidate is usable.
        """
        setback = self._setbacks.of(self._key(place))
        if setback is None:
            return False
        late = setback.budget_s is not None
        if late and (not usable or (setback.budget_s or 0.0) < self._run.job.profile.budget_s):
            return False
        status: EntryStatus = "not measured" if late else "failed"
        self._enter(place, Entry(self.candidates[place[0]], place[1], status, setback.told))
        return True

    def _keep_setback(self, outcome: Outcome) -> None:
        budget = self._run.job.profile.budget_s
        if outcome.status == "not measured" and not crowded(self._run.builders.count):
            self._setbacks.keep(self._key(outcome.place), outcome.status, outcome.reason or "", budget)
        elif outcome.status == "failed" and not outcome.crashed:
            self._setbacks.keep(self._key(outcome.place), outcome.status, outcome.reason or "")

    def _key(self, place: Place) -> str:
        return build.key(self.program, self.candidates[place[0]], place[1], self.samples)

    def entry(self, label: str, threads: int = 1) -> Entry:
        """The built and verified candidate `label`; built here and now on the first call."""
        place = (label, threads)
        if place not in self._entries:
            self._tell("build", placed(label, threads))
            self._enter(place, self._entered(self.candidates[label], threads))
        return self._entries[place]

    def take(self, candidate: Candidate, threads: int = 1) -> Entry:
        """A candidate built and verified here and now, whether it is one of the contest's own or not."""
        entry = enter(self._contestant, candidate, self._run.store, threads)
        self._enter((candidate.label, threads), entry)
        return entry

    def plain(self) -> Entry:
        """The original as an exported program, which runs without the code that defined it."""
        candidate = Candidate("float32", EagerOptions())
        place = (candidate.label, 1)
        if place not in self._entries:
            self._enter(place, self._entered(candidate, 1))
        return self._entries[place]

    def entries(self) -> list[Entry]:
        """All candidates entered so far, in the order of entering."""
        return list(self._entries.values())

    def verified_again(self, entry: Entry) -> Entry:
        """The entry after another verification, for what is shipped: a kept verdict is not enough there."""
        again = enter(self._contestant, entry.candidate, self._run.store, entry.threads)
        self._enter((entry.candidate.label, entry.threads), again)
        return again

    def drop(self, entry: Entry, reason: str) -> None:
        """Take a candidate out of the contest that was verified but turned out not to be usable."""
        dropped = replace(entry, status="failed", reason=reason)
        self._enter((entry.candidate.label, entry.threads), dropped)

    def _entered(self, candidate: Candidate, threads: int) -> Entry:
        store = self._run.store
        return known(self._contestant, candidate, store, threads) or enter(
            self._contestant, candidate, store, threads
        )

    def _enter(self, place: Place, entry: Entry) -> None:
        self._entries[place] = entry
        if entry.status != "verified":
            level: Level = "warning" if entry.status == "failed" else "info"
            self._tell("verify", f"{entry.label} {entry.status}: {entry.reason}", level=level)

    def _build_here(self, places: Sequence[Place], patience: Patience) -> None:
        for label, threads in places:
            usable = any(entry.status == "verified" for entry in self._entries.values())
            if time.monotonic() < patience.until(usable):
                self.entry(label, threads)
            else:
                late = Entry(self.candidates[label], threads, "not measured", BUDGET_USED)
                self._enter((label, threads), late)

    def _ended(self, outcome: Outcome) -> Entry:
        label, threads = outcome.place
        candidate = self.candidates[label]
        if outcome.status in ("verified", "refused"):
            entry = known(self._contestant, candidate, self._run.store, threads)
            if entry is not None:
                return entry
            lost = "its artifact is no longer in the store, or not under the key it was built for"
            return Entry(candidate, threads, "failed", lost)
        return Entry(candidate, threads, outcome.status, outcome.reason)

    def _tell_builds(self, total: int, running: Sequence[Place], done: Sequence[Outcome]) -> None:
        names = ", ".join(placed(*place) for place in running)
        self._tell("build", f"{len(done)} of {total} done, now {names}")

    def _tell(self, step: str, message: str, level: Level = "info") -> None:
        self._run.tell(self.program.name, step, message, level=level)

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
                samples=self.samples,
                count=RING,
                batch=batch,
                seed=self._run.job.seed,
            )
        return self._rings[batch]
