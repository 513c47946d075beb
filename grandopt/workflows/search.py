"""Finding the order of an agent's candidates: each is built, verified and measured for a short while.

With trials, Optuna chooses what to try next and remembers it for `--resume`; without, every candidate is
tried once, in the order of the list.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from typing import Any

from grandopt.compiler import build
from grandopt.config.schema import Goal
from grandopt.measurement.cold import cold_start
from grandopt.measurement.environment import available_cores, environment
from grandopt.measurement.result import Measurement
from grandopt.measurement.settings import Settings
from grandopt.measurement.subject import Subject
from grandopt.tuning.objective import Figures, score
from grandopt.tuning.result import Infeasible, Prune, Stop, Trial, TuningResult
from grandopt.tuning.space import Choice, Space
from grandopt.tuning.study import run as run_study
from grandopt.workflows.contest import ORIGINAL, Contest, Entry
from grandopt.workflows.run import Run

GLANCE_S = 0.4
"""Seconds of calls after which a clear loser is left alone."""


@dataclass(frozen=True)
class Search:
    """What to look for, and with which means. Latency is that of one call, whatever its batch size."""

    goal: Goal = "latency"
    trials: int = 0
    budget_s: float = 60.0
    storage_url: str | None = None
    batches: tuple[int, ...] = (1,)


def search(run: Run, contest: Contest, wanted: Search) -> TuningResult:
    """All trials of the agent's study, those of earlier runs included, with the best one.

    Raises TuningError when the storage cannot be used; a candidate that cannot be built or is not the same
    agent is an infeasible trial with its reason.
    """
    space = Space(tuple(contest.candidates), threads(run), wanted.batches)
    evaluate = Evaluation(run, contest, wanted)
    if wanted.trials == 0 or wanted.storage_url is None:
        return _in_order(space, evaluate, wanted)
    return run_study(
        space,
        evaluate,
        goal=wanted.goal,
        reference=evaluate.reference() if wanted.goal == "balanced" else None,
        trials=wanted.trials,
        budget_s=wanted.budget_s,
        storage_url=wanted.storage_url,
        study_name=study_name(run, contest, space, wanted.goal),
        seed=run.job.seed,
        resume=run.job.resume,
    )


def threads(run: Run) -> tuple[int, ...]:
    """The thread counts to try: the job's, or for "auto" all from 1 to what the machine grants."""
    return tuple(range(1, available_cores() + 1)) if run.job.threads == "auto" else (run.job.threads,)


def study_name(run: Run, contest: Contest, space: Space, goal: Goal) -> str:
    """A name that is the same only where trials may be shared.

    That is: the same agent and weights, builds, space, limits, observations, seed, and machine.
    """
    parts: list[Any] = [
        [build.key(contest.program, candidate) for candidate in contest.candidates.values()],
        space.to_json(),
        run.job.profile.limits.model_dump(),
        [hashlib.sha256(array.tobytes()).hexdigest() for array in contest.observations(1)],
        environment().identity,
        run.job.seed,
    ]
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
    return f"{contest.program.name}/{goal}/{digest}"


class Evaluation:
    """Measures choices beside the original, so that the machine's drift between trials cancels out."""

    def __init__(self, run: Run, contest: Contest, wanted: Search) -> None:
        self._run = run
        self._contest = contest
        self._wanted = wanted
        self._end = time.monotonic() + wanted.budget_s
        self._first: dict[tuple[int, int], float] = {}
        self._resident: dict[str, float] = {}
        self._reference: Figures | None = None

    def __call__(self, choice: Choice, prune: Prune) -> Figures:
        """The figures of a choice; raises Infeasible with the reason when it cannot be used."""
        self._tell("trial", choice)
        entry = self._contest.entry(choice.candidate, choice.threads)
        if entry.status != "verified":
            raise Infeasible(f"{entry.status}: {entry.reason}")
        shared = {"threads": choice.threads, "batch": choice.batch, "seed": self._run.job.seed}
        glance = self._contest.measure([entry], Settings.quick(rounds=3, max_seconds=GLANCE_S, **shared))
        figures = self._figures(glance, entry, choice)
        if prune(self.score(figures)):
            return figures
        return self._figures(self._contest.measure([entry], Settings.quick(**shared)), entry, choice)

    def score(self, figures: Figures) -> float:
        """The score of a choice with these figures; lower is better."""
        # Only the balanced goal looks at the original, whose figures cost a measurement.
        balanced = self._wanted.goal == "balanced"
        return score(self._wanted.goal, figures, self.reference() if balanced else figures)

    def reference(self) -> Figures:
        """The original's figures at one thread and batch 1, taken once."""
        if self._reference is None:
            self._reference = self._original()
        return self._reference

    def _original(self) -> Figures:
        measurement = self._contest.measure([], Settings.quick(seed=self._run.job.seed))
        summary = measurement.summary(ORIGINAL)
        self._first.setdefault((1, 1), summary.p50_us)
        return Figures(
            latency_us=summary.p50_us,
            p99_us=summary.p99_us,
            throughput=summary.qps,
            memory_mb=self._memory(Subject(ORIGINAL, self._contest.original.path, trust=True)),
        )

    def _figures(self, measurement: Measurement, entry: Entry, choice: Choice) -> Figures:
        original = measurement.summary(ORIGINAL).p50_us
        drift = self._first.setdefault((choice.threads, choice.batch), original) / original
        summary = measurement.summary(entry.label)
        artifact = self._contest.artifact(entry)
        return Figures(
            latency_us=summary.p50_us * drift,
            p99_us=None if summary.p99_us is None else summary.p99_us * drift,
            throughput=summary.qps / drift,
            memory_mb=self._memory(Subject(entry.label, artifact.path, trust=True)),
        )

    def _memory(self, subject: Subject) -> float:
        # A fresh process costs seconds, so it is started only where its memory is part of the goal.
        if self._wanted.goal in ("latency", "throughput"):
            return subject.artifact_bytes / 1e6
        if subject.label not in self._resident:
            inputs = [array[:1] for array in self._contest.observations(1)]
            self._resident[subject.label] = cold_start(subject, inputs).resident_mb
        return self._resident[subject.label]

    def _tell(self, step: str, choice: Choice) -> None:
        name = choice.candidate if choice.threads == 1 else f"{choice.candidate}@{choice.threads}"
        if choice.batch != 1:
            name = f"{name}, batch {choice.batch}"
        remaining = self._end - time.monotonic()
        self._run.tell(self._contest.program.name, step, name, remaining_s=remaining)


def _in_order(space: Space, evaluate: Evaluation, wanted: Search) -> TuningResult:
    """Every choice once, until the budget is used up; nothing is pruned and nothing remembered."""
    trials: list[Trial] = []
    begin = time.monotonic()
    for number, choice in enumerate(space):
        start = time.monotonic()
        if start - begin > wanted.budget_s:
            break
        try:
            figures = evaluate(choice, lambda value: False)
        except Infeasible as error:
            seconds = time.monotonic() - start
            trials.append(Trial(number, choice, "infeasible", None, None, str(error), seconds))
            continue
        value = evaluate.score(figures)
        trials.append(Trial(number, choice, "complete", value, figures, None, time.monotonic() - start))
    complete = [trial for trial in trials if trial.score is not None]
    best = min(complete, key=lambda trial: trial.score or 0.0, default=None)
    stopped: Stop = "exhausted" if len(trials) == space.size else "budget"
    return TuningResult(tuple(trials), best, wanted.goal, stopped)
