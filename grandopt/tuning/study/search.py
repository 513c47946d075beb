"""A persistent study in which no choice is evaluated twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from contextlib import suppress

import numpy as np
import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from grandopt.config.schema import Goal
from grandopt.errors import TuningError
from grandopt.reason import reason_fields
from grandopt.tuning.claims import claim, free
from grandopt.tuning.objective import TrialFigures, score
from grandopt.tuning.owner import this_process
from grandopt.tuning.result import Infeasible, Prune, State, Stop, Trial, TuningResult
from grandopt.tuning.space import Choice, ChoiceSpace
from grandopt.tuning.study.giving_back import given_back
from grandopt.tuning.study.log_suppression import no_experimental_warnings, quiet_logging
from grandopt.tuning.study.records import entries_of, trial_of
from grandopt.tuning.study.sampler import UnseenSampler, distributions
from grandopt.tuning.study.storage import opened

CLEAR_LOSER = 2.0
"""A first measurement this many times behind the best complete score is not worth a longer one."""

FEWEST_FOR_IMPORTANCE = 8

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
    reference: TrialFigures | None = None,
    resume: bool = True,
    without: Collection[Choice] = frozenset(),
    to_beat: float | None = None,
    clock: Callable[[], float] = time.monotonic,
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

    Raises TuningError when the storage cannot be used, or holds a study of that name for another space or
    goal. Any other exception of `evaluate`, KeyboardInterrupt included, passes through; what was done until
    then stays in the storage, and the interrupted choice is free again.
    """
    if goal == "balanced" and reference is None:
        raise TuningError("the goal 'balanced' compares with the original: its figures are needed")
    start = clock()
    with quiet_logging(), opened(storage_url) as storage:
        study = _study(storage, study_name, space, goal, resume)
        _seed(study, space, seed, without)
        session = _Session(study, space, clock, without, to_beat)
        done: set[int] = set()
        while True:
            stopped = session.stopped(trials) or ("budget" if clock() - start >= budget_s else None)
            claimed = None if stopped else session.claim()
            if claimed is None:
                break
            finished = session.evaluate(*claimed, evaluate, goal, reference or _UNIT)
            done.add(finished.number)
            if on_trial is not None:
                on_trial(finished)
        return session.result(goal, stopped or "exhausted", done)


_UNIT = TrialFigures(1.0, 1.0, 1.0, 1.0)  # no goal but "balanced" looks at the reference


class _Session:
    """One process at work on a study."""

    def __init__(
        self,
        study: optuna.Study,
        space: ChoiceSpace,
        clock: Callable[[], float],
        without: Collection[Choice],
        to_beat: float | None,
    ) -> None:
        self._study = study
        self._space = space
        self._clock = clock
        self._without = without
        self._to_beat = to_beat

    def stopped(self, trials: int) -> Stop | None:
        """Whether there is nothing more to start, counting what other processes are working on."""
        entries = entries_of(self._study)
        if not free(self._space, entries, self._without):
            return "exhausted"
        return "trials" if sum(not entry.abandoned for entry in entries) >= trials else None

    def claim(self) -> tuple[optuna.Trial, Choice] | None:
        """A running trial and the choice that is now ours to evaluate; None when all are taken."""
        while True:
            entries = entries_of(self._study)
            for entry in entries:
                if entry.abandoned:
                    self._study.tell(entry.number, state=TrialState.FAIL, skip_if_finished=True)
            if not free(self._space, entries, self._without):
                return None
            trial = self._study.ask()
            with given_back(self._study, trial):
                trial.set_user_attr("owner", this_process())
                choice = self._suggested(trial)
                while (verdict := claim(trial.number, choice, entries_of(self._study))) == "wait":
                    time.sleep(0.02)
                if verdict == "won":
                    return trial, choice
                self._study.tell(trial, state=TrialState.FAIL)

    def _suggested(self, trial: optuna.Trial) -> Choice:
        for name, values in distributions(self._space).items():
            trial.suggest_categorical(name, values.choices)
        return Choice(**trial.params)

    def evaluate(
        self, trial: optuna.Trial, choice: Choice, evaluate: Evaluate, goal: Goal, reference: TrialFigures
    ) -> Trial:
        """Evaluate a claimed choice and store what came out."""
        complete = [known.score for known in self._finished() if known.state == "complete"]
        scores = [score for score in (*complete, self._to_beat) if score is not None]
        best = min(scores, default=None)
        pruned = False

        def prune(value: float) -> bool:
            nonlocal pruned
            pruned = best is not None and value > CLEAR_LOSER * best
            return pruned

        figures, reason, value = None, None, None
        state: State = "infeasible"
        start = self._clock()
        with given_back(self._study, trial):
            try:
                figures = evaluate(choice, prune)
                value = score(goal, figures, reference)
                state = "pruned" if pruned else "complete"
            except Infeasible as error:
                reason = error.reason
            seconds = self._clock() - start
            facts = {
                "state": state,
                "score": value,
                "figures": None if figures is None else figures.to_json(),
                **reason_fields(reason),
                "seconds": seconds,
            }
            # The facts come before the state: a trial that shows as finished has all of them.
            for name, fact in facts.items():
                trial.set_user_attr(name, fact)
            if state == "complete":
                self._study.tell(trial, value)
            else:
                if value is not None:
                    trial.report(value, step=0)
                self._study.tell(trial, state=TrialState.PRUNED)
        return Trial(trial.number, choice, state, value, figures, reason, seconds)

    def result(self, goal: Goal, stopped: Stop, done: set[int]) -> TuningResult:
        """All finished trials of the study, whoever evaluated them."""
        found = self._finished()
        complete = [trial for trial in found if trial.state == "complete" and trial.score is not None]
        best = min(complete, key=lambda trial: (trial.score, trial.number), default=None)
        reused = sum(trial.number not in done for trial in found)
        return TuningResult(tuple(found), best, goal, stopped, reused, self._importance(complete))

    def _finished(self) -> list[Trial]:
        states = (TrialState.COMPLETE, TrialState.PRUNED)
        return [trial_of(frozen) for frozen in self._study.get_trials(deepcopy=False, states=states)]

    def _importance(self, complete: list[Trial]) -> dict[str, float] | None:
        if len(complete) < FEWEST_FOR_IMPORTANCE or len({trial.score for trial in complete}) < 2:
            return None
        varied = [name for name, choices in distributions(self._space).items() if len(choices.choices) > 1]
        with no_experimental_warnings():
            return get_param_importances(self._study, evaluator=PedAnovaImportanceEvaluator(), params=varied)


def finished(storage_url: str, study_name: str) -> tuple[Trial, ...]:
    """The evaluated trials of a study; none where there is no such study. Raises TuningError as `run`."""
    with quiet_logging(), opened(storage_url) as storage:
        if study_name not in optuna.get_all_study_names(storage):
            return ()
        study = optuna.load_study(study_name=study_name, storage=storage)
        states = (TrialState.COMPLETE, TrialState.PRUNED)
        return tuple(trial_of(frozen) for frozen in study.get_trials(deepcopy=False, states=states))


def _study(storage: RDBStorage, name: str, space: ChoiceSpace, goal: Goal, resume: bool) -> optuna.Study:
    if not resume:
        with suppress(KeyError):  # there is none to delete
            optuna.delete_study(study_name=name, storage=storage)
    study = optuna.create_study(study_name=name, storage=storage, load_if_exists=True)
    wanted = {"goal": goal, **space.to_json()}
    made_for = study.user_attrs.get("grandopt")
    held = len(study.get_trials(deepcopy=False))
    if made_for != wanted and (made_for is not None or held):
        raise TuningError(
            f"study {name!r} was made for another search (it has {made_for or 'trials of its own'}, this is "
            f"{wanted}); start it anew without resuming, or take another name"
        )
    if made_for is None:
        study.set_user_attr("grandopt", wanted)
    return study


def _seed(study: optuna.Study, space: ChoiceSpace, seed: int, without: Collection[Choice]) -> None:
    # Mixed with the number of trials, so that a resumed run does not draw the same choices again.
    held = len(study.get_trials(deepcopy=False))
    mixed = int(np.random.SeedSequence([seed, held]).generate_state(1)[0])
    study.sampler = UnseenSampler(space, mixed, without)
