"""Measuring choices beside the original, so that the machine's drift between measurements cancels out."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence

from grandopt.config.schema import Goal
from grandopt.errors import MeasurementError
from grandopt.measurement.cold import cold_start
from grandopt.measurement.result import Measurement
from grandopt.measurement.settings import MeasurementSettings
from grandopt.measurement.subject import Subject
from grandopt.reason import Reason
from grandopt.tuning.objective import TrialFigures, score
from grandopt.tuning.result import Infeasible, Prune
from grandopt.tuning.space import Choice
from grandopt.tuning.study.search import CLEAR_LOSER
from grandopt.workflows.building.built import ORIGINAL, BuiltCandidate, variant_name
from grandopt.workflows.job import Run
from grandopt.workflows.selection.candidate_set import CandidateSet

GLANCE_S = 0.25
"""Seconds of calls of one subject after which a clear loser is left alone."""

SECOND_S = 0.75
"""Seconds of calls of one subject in the second round."""

MOST_IN_SECOND = 8

Group = tuple[int, int]
"""What choices must share to be measured side by side: threads and batch."""


class Evaluation:
    """The figures of choices, each measured once in this run."""

    def __init__(self, run: Run, candidate_set: CandidateSet, goal: Goal, budget_s: float) -> None:
        self._run = run
        self._candidates = candidate_set
        self._goal = goal
        self._end = time.monotonic() + budget_s
        self._first: dict[Group, float] = {}
        self._resident: dict[str, float] = {}
        self._reference: TrialFigures | None = None
        self._glances: dict[Choice, TrialFigures] = {}
        self._figures_of: dict[Choice, TrialFigures] = {}
        self._broken: dict[Choice, Reason] = {}

    def race(self, choices: Sequence[Choice], leader: float | None = None) -> float | None:
        """Measure all choices side by side: shortly, then those that are not clearly behind once more.

        `leader` is the best score of an earlier run. Returns the best score now known. Calling the object
        with one of the choices then gives its figures without measuring it again.
        """
        for group, members in _grouped(choices):
            self._tell("first round", f"{len(members)} candidates", group)
            settings = self._settings(group, rounds=5, window_ms=2.0, max_seconds=GLANCE_S)
            self._glances |= self._round(members, settings)
        scores = {choice: self.score(figures) for choice, figures in self._glances.items()}
        best = min([*scores.values(), *([] if leader is None else [leader])], default=None)
        if best is None:
            return None
        chances = {choice: self.score(figures.at_best) for choice, figures in self._glances.items()}
        ahead = sorted((scores[choice], choice) for choice, at in chances.items() if at <= CLEAR_LOSER * best)
        for group, members in _grouped([choice for _, choice in ahead[:MOST_IN_SECOND]]):
            if time.monotonic() > self._end:
                break
            self._tell("second round", f"{len(members)} candidates", group)
            self._figures_of |= self._round(members, self._settings(group, max_seconds=SECOND_S))
        return best

    def best_first(self, choices: Sequence[Choice]) -> list[Choice]:
        """The choices by their score in the race, the best first; those without one come last."""
        return sorted(
            choices,
            key=lambda choice: self.score(self._glances[choice]) if choice in self._glances else math.inf,
        )

    def __call__(self, choice: Choice, prune: Prune) -> TrialFigures:
        """The figures of a choice; raises Infeasible with the reason when it cannot be used."""
        if choice in self._broken:
            raise Infeasible(self._broken[choice])
        if choice in self._figures_of:
            return self._figures_of[choice]
        group = (choice.threads, choice.batch)
        if choice not in self._glances:
            self._tell("trial", variant_name(choice.candidate, choice.threads), group)
            glance = self._settings(group, rounds=3, max_seconds=GLANCE_S)
            self._glances |= self._round([choice], glance)
            if choice in self._broken:
                raise Infeasible(self._broken[choice])
        figures = self._glances[choice]
        if prune(self.score(figures.at_best)):
            return figures
        self._figures_of |= self._round([choice], self._settings(group))
        if choice in self._broken:
            raise Infeasible(self._broken[choice])
        return self._figures_of[choice]

    def looked_at(self, choice: Choice) -> tuple[TrialFigures, bool]:
        """The figures of a choice, and whether they are those of a first look because it was far behind."""
        best = min((self.score(figures) for figures in self._figures_of.values()), default=None)
        behind = False

        def prune(value: float) -> bool:
            nonlocal behind
            behind = best is not None and value > CLEAR_LOSER * best
            return behind

        return self(choice, prune), behind

    def score(self, figures: TrialFigures) -> float:
        """The score of a choice with these figures; lower is better."""
        # Only the balanced goal looks at the original, whose figures cost a measurement.
        return score(self._goal, figures, self.reference() if self._goal == "balanced" else figures)

    def reference(self) -> TrialFigures:
        """The original's figures at one thread and batch 1, taken once."""
        if self._reference is None:
            self._reference = self._original()
        return self._reference

    def _original(self) -> TrialFigures:
        measurement = self._candidates.measure([], MeasurementSettings.quick(seed=self._run.job.seed))
        summary = measurement.summary(ORIGINAL)
        self._first.setdefault((1, 1), summary.p50_us)
        return TrialFigures(
            latency_us=summary.p50_us,
            p99_us=summary.p99_us,
            throughput=summary.qps,
            memory_mb=self._memory(self._candidates.subject(self._candidates.original)),
        )

    def _round(self, choices: Sequence[Choice], settings: MeasurementSettings) -> dict[Choice, TrialFigures]:
        """The figures of choices measured side by side; one that cannot be measured is noted as broken."""
        builds = {choice: self._built(choice) for choice in choices if choice not in self._broken}
        builds = {choice: built for choice, built in builds.items() if choice not in self._broken}
        if not builds:
            return {}
        try:
            measurement = self._candidates.measure(list(builds.values()), settings)
        except MeasurementError as error:
            if len(builds) == 1:
                self._broken[next(iter(builds))] = Reason.of(error)
                return {}
            # One of them took the worker with it: measured one by one, the others go on.
            found: dict[Choice, TrialFigures] = {}
            for choice in builds:
                found |= self._round([choice], settings)
            return found
        return {
            choice: self._figures(measurement, built, (choice.threads, choice.batch))
            for choice, built in builds.items()
        }

    def _built(self, choice: Choice) -> BuiltCandidate:
        built = self._candidates.build_one(choice.candidate, choice.threads)
        if built.reason is not None:
            self._broken[choice] = built.reason
        return built

    def _figures(self, measurement: Measurement, built: BuiltCandidate, group: Group) -> TrialFigures:
        original = measurement.summary(ORIGINAL).p50_us
        drift = self._first.setdefault(group, original) / original
        speedup = measurement.ratio(ORIGINAL, built.label)
        summary = measurement.summary(built.label)
        return TrialFigures(
            latency_us=summary.p50_us * drift,
            p99_us=None if summary.p99_us is None else summary.p99_us * drift,
            throughput=summary.qps / drift,
            memory_mb=self._memory(self._candidates.subject(built)),
            doubt=1.0 - speedup.value / speedup.high,
        )

    def _memory(self, subject: Subject) -> float:
        # A fresh process costs seconds, so it is started only where its memory is part of the goal.
        if self._goal in ("latency", "throughput"):
            return subject.artifact_bytes / 1e6
        if subject.label not in self._resident:
            inputs = [array[:1] for array in self._candidates.observations(1)]
            self._resident[subject.label] = cold_start(subject, inputs).resident_mb
        return self._resident[subject.label]

    def _settings(self, group: Group, **changes: float) -> MeasurementSettings:
        return MeasurementSettings.quick(threads=group[0], batch=group[1], seed=self._run.job.seed, **changes)

    def _tell(self, step: str, message: str, group: Group) -> None:
        at = "" if group[0] == 1 else f", {group[0]} threads"
        batch = "" if group[1] == 1 else f", batch {group[1]}"
        self._run.tell(self._candidates.program.name, step, f"{message}{at}{batch}")


def _grouped(choices: Sequence[Choice]) -> Iterator[tuple[Group, list[Choice]]]:
    groups: defaultdict[Group, list[Choice]] = defaultdict(list)
    for choice in choices:
        groups[choice.threads, choice.batch].append(choice)
    yield from groups.items()
