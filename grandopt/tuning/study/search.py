"""A persistent study in which no choice is evaluated twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from typing import Literal

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState

from grandopt.config.schema import Goal
from grandopt.errors import TuningError
from grandopt.reason import reason_fields
from grandopt.tuning.claims import claim_name, free
from grandopt.tuning.objective import TrialFigures, score
from grandopt.tuning.owner import this_process
from grandopt.tuning.result import Infeasible, Prune, State, Stop, Trial, TuningResult
from grandopt.tuning.space import Choice, ChoiceSpace
from grandopt.tuning.study.choice_claims import Claims
from grandopt.tuning.study.giving_back import given_back
from grandopt.tuning.study.leases import LEASE_S, Leases
from grandopt.tuning.study.log_suppression import no_experimental_warnings, quiet_logging
from grandopt.tuning.study.records import CLAIMED, FINISHED, evaluated_choices, trial_of
from grandopt.tuning.study.resumed import Machine, delete, mixed_seed, resumed
from grandopt.tuning.study.sampler import UnseenSampler, distributions
from grandopt.tuning.study.storage import opened, patiently

CLEAR_LOSER = 2.0
"""A first measurement this many times behind the best complete score is not worth a longer one."""

FEWEST_FOR_IMPORTANCE = 8

LOOK_S = 0.2
"""How often is looked whether the others are done."""

Evaluate = Callable[[Choice, Prune], TrialFigures]


def run(
    space: ChoiceSpace,
    evaluate: Evaluate,
    *,
    goal: Goal,
    trials: int,
    budget_s: float,
    storage_url: str,
    study_name: str,
    seed: int,
    machine: Machine | None = None,
    reference: TrialFigures | None = None,
    resume: bool = True,
    without: Collection[Choice] = frozenset(),
    to_beat: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    lease_s: float = LEASE_S,
    on_trial: Callable[[Trial], None] | None = None,
) -> TuningResult:
    """Search `space` for the choice with the best score, keeping every trial in the storage.

    `evaluate` measures one choice. After a short first measurement it should call the `Prune` it is given
    with the score of that; when the answer is True, it returns the short figures, and the trial counts as
    pruned. It raises Infeasible for a choice that cannot be used.

    The study is named `study_name`, which must name all that the figures depend on (agent, machine). Trials
    it already holds are reused, and count: the search stops when the study has `trials` of them, when
    `budget_s` seconds (of `clock`) have passed before a new one starts, or when the space is exhausted.
    With `resume=False` an existing study of that name is deleted first. `reference` holds the figures of
    the original, which the goal "balanced" needs. Choices in `without` are left alone this time. `to_beat` is
    the best score of a first measurement that all choices took part in: short scores are held against it,
    too. `on_trial` hears of each trial that this call evaluates.

    Any number of processes, on any number of machines that are the same `machine`, may work on one study at
    once: no choice is evaluated by two. Before it returns, a process waits within its budget for the trials
    of the others, and takes over those of one that died: its claims lapse `lease_s` seconds after it last
    renewed them (at once where it is seen to be dead).

    Raises StorageError when the storage cannot be used, or was lost for longer than it is waited for, and
    TuningError when it holds a study of that name for another space, goal or machine, or when others work on
    the one that is to be deleted. Any other exception of `evaluate`, KeyboardInterrupt included, passes
    through; what was done until then stays in the storage, and the interrupted choice is free again.
    """
    if goal == "balanced" and reference is None:
        raise TuningError("the goal 'balanced' compares with the original: its figures are needed")
    start = clock()
    with quiet_logging(), opened(storage_url) as storage, Leases(storage.engine, lease_s) as leases:
        scope = f"study {study_name}"
        if not resume:
            delete(storage, study_name, leases.held(scope).values())
        study = resumed(storage, study_name, space, goal, machine)
        sampler = UnseenSampler(space, mixed_seed(study, seed))
        study.sampler = sampler
        session = _Session(study, space, sampler, Claims(leases, scope, space), clock)
        done: set[int] = set()
        while True:
            step = session.next(trials, without)
            if step in ("trials", "exhausted") or clock() - start >= budget_s:
                break
            if isinstance(step, str):
                time.sleep(LOOK_S)
                continue
            claimed = session.claim(step)
            if claimed is None:
                continue
            evaluated = session.evaluate(*claimed, evaluate, goal, reference or _UNIT, to_beat)
            if evaluated is not None:
                done.add(evaluated.number)
                if on_trial is not None:
                    on_trial(evaluated)
        stopped: Stop = "budget" if isinstance(step, list) or step == "wait" else step
        return session.result(goal, stopped, done)


_UNIT = TrialFigures(1.0, 1.0, 1.0, 1.0)  # no goal but "balanced" looks at the reference


class _Session:
    """One process at work on a study."""

    def __init__(
        self,
        study: optuna.Study,
        space: ChoiceSpace,
        sampler: UnseenSampler,
        claims: Claims,
        clock: Callable[[], float],
    ) -> None:
        self._study = study
        self._space = space
        self._sampler = sampler
        self._claims = claims
        self._clock = clock

    def next(
        self, trials: int, without: Collection[Choice]
    ) -> list[Choice] | Literal["trials", "exhausted", "wait"]:
        """The choices that may be evaluated now, or why there are none."""
        # In this order: what is finished in between shows in both, and never in neither.
        claimed = self._claims.of_others()
        done = self._evaluated()
        at_work = [choice for choice in claimed if choice not in done]
        if len(done) >= trials:
            return "trials"
        offered = free(self._space, done, {claim_name(choice) for choice in claimed}, without)
        if offered and len(done) + len(at_work) < trials:
            self._sampler.taken = [*done, *at_work]
            return offered
        return "wait" if at_work else "exhausted"

    def claim(self, offered: Sequence[Choice]) -> tuple[optuna.Trial, Choice] | None:
        """A running trial and the choice that is now ours to evaluate; None when others were quicker."""
        self._sampler.offered = offered
        self._give_up_abandoned()
        trial = patiently(self._study.ask)
        with given_back(self._study, trial):
            choice = patiently(lambda: self._suggested(trial))
            if self._claims.take(choice):
                # Whoever had the claim until just now may have finished.
                if choice not in self._evaluated():
                    patiently(lambda: trial.set_user_attr("owner", this_process()))
                    patiently(lambda: trial.set_user_attr(CLAIMED, True))
                    return trial, choice
                self._claims.release(choice)
            self._give_up(trial)
        return None

    def _give_up_abandoned(self) -> None:
        """Running trials whose claim has lapsed keep nobody from their choice, but the sampler sees them."""
        running = [
            trial
            for trial in patiently(lambda: self._study.get_trials(False, (TrialState.RUNNING,)))
            if CLAIMED in trial.user_attrs
        ]
        if running:
            claimed = set(self._claims.of_others())
            for trial in running:
                if Choice(**trial.params) not in claimed:
                    self._give_up(trial.number)

    def _give_up(self, trial: optuna.Trial | int) -> None:
        with suppress(optuna.exceptions.UpdateFinishedTrialError):  # others have at the same moment
            self._tell(trial, state=TrialState.FAIL)

    def _suggested(self, trial: optuna.Trial) -> Choice:
        for name, values in distributions(self._space).items():
            trial.suggest_categorical(name, values.choices)
        return Choice(**trial.params)

    def evaluate(
        self,
        trial: optuna.Trial,
        choice: Choice,
        evaluate: Evaluate,
        goal: Goal,
        reference: TrialFigures,
        to_beat: float | None,
    ) -> Trial | None:
        """Evaluate a claimed choice and store what came out; None where the claim was lost meanwhile."""
        complete = [known.score for known in self._finished() if known.state == "complete"]
        scores = [score for score in (*complete, to_beat) if score is not None]
        best = min(scores, default=None)
        pruned = False

        def prune(value: float) -> bool:
            nonlocal pruned
            pruned = best is not None and value > CLEAR_LOSER * best
            return pruned

        figures, reason, value = None, None, None
        state: State = "infeasible"
        start = self._clock()
        with given_back(self._study, trial), self._claims.released(choice):
            try:
                figures = evaluate(choice, prune)
                value = score(goal, figures, reference)
                state = "pruned" if pruned else "complete"
            except Infeasible as error:
                reason = error.reason
            seconds = self._clock() - start
            if not self._claims.keep(choice):
                # This process was held up for longer than a lease: somebody else has the choice.
                self._give_up(trial)
                return None
            host = this_process()["host"]
            done = Trial(trial.number, choice, state, value, figures, reason, seconds, host)
            try:
                self._store(trial, done)
            except optuna.exceptions.UpdateFinishedTrialError:
                return None  # the same, but nobody has taken the choice yet
        return done

    def _store(self, trial: optuna.Trial, done: Trial) -> None:
        facts = {
            "state": done.state,
            "score": done.score,
            "figures": None if done.figures is None else done.figures.to_json(),
            **reason_fields(done.reason),
            "seconds": done.seconds,
        }
        # The facts come before the state: a trial that shows as finished has all of them.
        for name, fact in facts.items():
            patiently(partial(trial.set_user_attr, name, fact))
        if done.state == "complete":
            self._tell(trial, done.score)
            return
        if done.score is not None:
            patiently(partial(trial.report, done.score, step=0))
        self._tell(trial, state=TrialState.PRUNED)

    def _tell(
        self, trial: optuna.Trial | int, value: float | None = None, *, state: TrialState | None = None
    ) -> None:
        # Told twice where the connection was lost before the answer came: the second time it is finished.
        patiently(lambda: self._study.tell(trial, value, state=state, skip_if_finished=True))

    def _evaluated(self) -> list[Choice]:
        return patiently(lambda: evaluated_choices(self._study))

    def result(self, goal: Goal, stopped: Stop, done: set[int]) -> TuningResult:
        """All finished trials of the study, whoever evaluated them."""
        found = self._finished()
        complete = [trial for trial in found if trial.state == "complete" and trial.score is not None]
        best = min(complete, key=lambda trial: (trial.score, trial.number), default=None)
        reused = sum(trial.number not in done for trial in found)
        return TuningResult(tuple(found), best, goal, stopped, reused, self._importance(complete))

    def _finished(self) -> list[Trial]:
        frozen = patiently(lambda: self._study.get_trials(deepcopy=False, states=FINISHED))
        return [trial_of(trial) for trial in frozen]

    def _importance(self, complete: list[Trial]) -> dict[str, float] | None:
        if len(complete) < FEWEST_FOR_IMPORTANCE or len({trial.score for trial in complete}) < 2:
            return None
        varied = [name for name, choices in distributions(self._space).items() if len(choices.choices) > 1]
        with no_experimental_warnings():
            return get_param_importances(self._study, evaluator=PedAnovaImportanceEvaluator(), params=varied)


def finished(storage_url: str, study_name: str) -> tuple[Trial, ...]:
    """The evaluated trials of a study; none where there is no such study. Raises StorageError as `run`."""
    with quiet_logging(), opened(storage_url) as storage:
        if study_name not in optuna.get_all_study_names(storage):
            return ()
        study = optuna.load_study(study_name=study_name, storage=storage)
        return tuple(trial_of(frozen) for frozen in study.get_trials(deepcopy=False, states=FINISHED))
