"""Finding the order of an agent's candidates: those that are built and verified are measured for a while.

With trials, Optuna remembers what was measured for `--resume`, and chooses what to try next where there is
more than one run holds; without, every candidate is measured, in the order of the list.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grandopt.compiler import build
from grandopt.config.schema import Goal
from grandopt.measurement.environment import environment
from grandopt.tuning.result import Infeasible, State, Stop, Trial, TuningResult
from grandopt.tuning.space import Choice, ChoiceSpace
from grandopt.tuning.study import finished
from grandopt.tuning.study import run as run_study
from grandopt.workflows.job import Run
from grandopt.workflows.selection.build_stage import threads
from grandopt.workflows.selection.candidate_set import CandidateSet
from grandopt.workflows.selection.scoring import Evaluation


@dataclass(frozen=True)
class Search:
    """What to look for, and with which means. Latency is that of one call, whatever its batch size.

    `together` measures all choices side by side in two rounds before the study looks at them, which is
    quicker and fairer where it can take them all.
    """

    goal: Goal = "latency"
    trials: int = 0
    budget_s: float = 60.0
    storage_url: str | None = None
    batches: tuple[int, ...] = (1,)
    together: bool = False


def search(run: Run, candidate_set: CandidateSet, wanted: Search) -> TuningResult:
    """All trials of the agent's study, those of earlier runs included, with the best one.

    Only candidates that were built and verified before take part. Raises StorageError when the storage
    cannot be used; a candidate that cannot be measured is an infeasible trial with its reason.
    """
    space = ChoiceSpace(tuple(candidate_set.candidates), threads(run), wanted.batches)
    evaluate = Evaluation(run, candidate_set, wanted.goal, wanted.budget_s)
    ready = {
        (built.candidate.label, built.threads)
        for built in candidate_set.builds()
        if built.status == "verified"
    }
    able = [choice for choice in space if (choice.candidate, choice.threads) in ready]
    without = frozenset(space) - frozenset(able)
    if wanted.trials == 0 or wanted.storage_url is None:
        if wanted.together:
            evaluate.race(able)
            able = evaluate.best_first(able)  # where time is short, the best is not among what is left
        return _in_order(able, evaluate, wanted)
    name = study_name(run, candidate_set, space, wanted.goal)
    to_beat = None
    if wanted.together:
        old = finished(wanted.storage_url, name) if run.job.resume else ()
        to_beat = evaluate.race(_unmeasured(able, old, wanted.trials), _best_score(old))
    return run_study(
        space,
        evaluate,
        goal=wanted.goal,
        reference=evaluate.reference() if wanted.goal == "balanced" else None,
        trials=wanted.trials,
        budget_s=wanted.budget_s,
        storage_url=wanted.storage_url,
        study_name=name,
        seed=run.job.seed,
        machine=_machine(),
        resume=run.job.resume,
        without=without,
        to_beat=to_beat,
    )


def study_name(run: Run, candidate_set: CandidateSet, space: ChoiceSpace, goal: Goal) -> str:
    """A name that is the same only where trials may be shared.

    That is: the same agent and weights, builds, space, limits, observations, seed, and machine.
    """
    parts: list[Any] = [
        [build.key(candidate_set.program, candidate) for candidate in candidate_set.candidates.values()],
        space.to_json(),
        run.job.profile.limits.model_dump(),
        [hashlib.sha256(array.tobytes()).hexdigest() for array in candidate_set.observations(1)],
        candidate_set.evidence.kind,
        environment().identity,
        run.job.seed,
    ]
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
    return f"{candidate_set.program.name}/{goal}/{digest}"


def _machine() -> dict[str, str]:
    """The kind of this machine, for the study to say whose figures it holds."""
    here = environment()
    return {"identity": here.identity, "cpu": here.cpu_model or here.architecture}


def _unmeasured(able: Sequence[Choice], old: Sequence[Trial], trials: int) -> list[Choice]:
    known = {trial.choice for trial in old}
    return [choice for choice in able if choice not in known][: max(0, trials - len(old))]


def _best_score(old: Sequence[Trial]) -> float | None:
    scores = [trial.score for trial in old if trial.state == "complete" and trial.score is not None]
    return min(scores, default=None)


def _in_order(choices: Sequence[Choice], evaluate: Evaluation, wanted: Search) -> TuningResult:
    """Every choice once, until the budget is used up; nothing is remembered."""
    trials: list[Trial] = []
    best: Trial | None = None
    begin = time.monotonic()
    for number, choice in enumerate(choices):
        start = time.monotonic()
        if start - begin > wanted.budget_s:
            break
        try:
            figures, pruned = evaluate.looked_at(choice)
        except Infeasible as error:
            seconds = time.monotonic() - start
            trials.append(Trial(number, choice, "infeasible", None, None, error.reason, seconds))
            continue
        value, seconds = evaluate.score(figures), time.monotonic() - start
        state: State = "pruned" if pruned else "complete"
        trial = Trial(number, choice, state, value, figures, None, seconds)
        trials.append(trial)
        if not pruned and (best is None or value < (best.score or 0.0)):
            best = trial
    stopped: Stop = "exhausted" if len(trials) == len(choices) else "budget"
    return TuningResult(tuple(trials), best, wanted.goal, stopped)
