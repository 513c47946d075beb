"""What follows from the trials and from measuring the best of them again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grandopt.reason import Reason, ReasonCode
from grandopt.tuning.configuration.confirmation import FEWEST_ROUNDS
from grandopt.tuning.configuration.goals import OptimizationGoal, Scoring
from grandopt.tuning.configuration.pareto import non_dominated
from grandopt.tuning.configuration.result import ConfigurationTrial, Confirmation, Finalist, Verdict


@dataclass(frozen=True)
class Judgement:
    """The part of a result that is concluded (see `ConfigurationResult`)."""

    verdict: Verdict
    best: ConfigurationTrial | None
    reason: Reason | None
    pareto: tuple[ConfigurationTrial, ...] = ()


def judged(
    trials: Sequence[ConfigurationTrial],
    confirmation: Confirmation | None,
    scoring: Scoring | None,
    goals: Sequence[OptimizationGoal],
) -> Judgement:
    """The conclusion; the first trial is that of the default configuration."""
    feasible = [trial for trial in trials if trial.state == "feasible"]
    if not feasible or scoring is None:
        return Judgement("none_fit", None, _nothing_fits(trials))
    if len(goals) > 1:
        scored = [trial for trial in feasible if trial.scores is not None]
        front = non_dominated([trial.scores or () for trial in scored])
        several = Reason(
            ReasonCode.UNDECIDED,
            f"with the goals {', '.join(goals)} no configuration is best in all; choose one of the "
            f"{len(front)} in 'pareto'",
        )
        return Judgement("several_goals", None, several, tuple(scored[place] for place in front))
    default = trials[0]
    finalists = () if confirmation is None else confirmation.finalists
    again = {finalist.trial: finalist for finalist in finalists}
    fit = [item for number, item in again.items() if number != default.number and not item.violations]
    if default.state == "feasible" and not (default.number in again and again[default.number].violations):
        shown = [item for item in fit if item.shown_better]
        if shown:
            best = max(shown, key=lambda item: item.ratio or 0.0)
            return Judgement("better", _trial(trials, best), None)
        return Judgement("default_kept", default, _not_better(trials, confirmation, fit))
    if fit:
        best = min(fit, key=lambda item: scoring.scores(item.figures))
        return Judgement("default_unfit", _trial(trials, best), _unfit(default, again))
    if confirmation is None:
        chosen = min(feasible, key=lambda trial: (trial.scores or (), trial.number))
        return Judgement("default_unfit", chosen, _unfit(default, again))
    return Judgement("none_fit", None, _none_stayed(again))


def _trial(trials: Sequence[ConfigurationTrial], finalist: Finalist) -> ConfigurationTrial:
    return next(trial for trial in trials if trial.number == finalist.trial)


def _nothing_fits(trials: Sequence[ConfigurationTrial]) -> Reason:
    if not trials:
        return Reason(ReasonCode.NOT_MEASURED, "no configuration was evaluated")
    broken = next((trial.violations[0] for trial in trials if trial.violations), None)
    failed = next((trial.reason.text for trial in trials if trial.reason is not None), None)
    return Reason(
        ReasonCode.NONE_USABLE,
        f"none of {len(trials)} configurations works and keeps to all constraints (such as: "
        f"{broken or failed}); loosen a constraint, or try more",
    )


def _none_stayed(again: dict[int, Finalist]) -> Reason:
    broken = next((item.violations[0] for item in again.values() if item.violations), "it failed")
    return Reason(
        ReasonCode.NONE_USABLE,
        f"measured again, none of the best keeps to all constraints (such as: {broken}); loosen a constraint",
    )


def _unfit(default: ConfigurationTrial, again: dict[int, Finalist]) -> Reason:
    if default.reason is not None:
        return Reason(default.reason.code, f"the default configuration does not work: {default.reason}")
    broken = default.violations or (again[default.number].violations if default.number in again else ())
    return Reason(
        ReasonCode.NONE_USABLE, f"the default configuration breaks a constraint: {'; '.join(broken)}"
    )


def _not_better(
    trials: Sequence[ConfigurationTrial], confirmation: Confirmation | None, fit: Sequence[Finalist]
) -> Reason:
    others = [trial for trial in trials[1:] if trial.state == "feasible"]
    if not others:
        return Reason(ReasonCode.NOTHING_FASTER, "no other configuration works and keeps to all constraints")
    if confirmation is None or confirmation.rounds < FEWEST_ROUNDS:
        rounds = 0 if confirmation is None else confirmation.rounds
        return Reason(
            ReasonCode.NOT_MEASURED_IN_TIME,
            f"the best of the search was measured again {rounds} times, {FEWEST_ROUNDS} are needed to tell "
            f"it from the default; give more time",
        )
    ranked = sorted((item for item in fit if item.ratio is not None), key=lambda item: -(item.ratio or 0.0))
    if not ranked:
        return Reason(
            ReasonCode.NOTHING_FASTER, "measured again, none of the best works and keeps to all constraints"
        )
    best = ranked[0]
    return Reason(
        ReasonCode.NOTHING_FASTER,
        f"the best of the search, trial {best.trial}, is {best.ratio:.3g} times as good as the default "
        f"({best.low:.3g} to {best.high:.3g} at {100 * best.confidence:.3g} %): it is not shown to be better",
    )
