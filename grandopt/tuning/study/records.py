"""Optuna's trials in our own terms."""

from __future__ import annotations

import datetime

import optuna
from optuna.trial import FrozenTrial, TrialState

from grandopt.reason import reason_of
from grandopt.tuning.objective import TrialFigures
from grandopt.tuning.owner import alive
from grandopt.tuning.result import Trial
from grandopt.tuning.space import Choice

NAMELESS_S = 10.0
"""A running trial that names no owner after this long was left behind."""

CLAIMED = "claimed"
"""The attribute of a running trial whose choice is claimed by the process that made it."""

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


def evaluated_choices(study: optuna.Study) -> list[Choice]:
    """The choices of all finished trials, by number; interrupted ones (FAIL) do not count."""
    return [Choice(**trial.params) for trial in study.get_trials(deepcopy=False, states=FINISHED)]


def trial_of(frozen: FrozenTrial) -> Trial:
    """A finished trial, from the facts that its evaluation stored."""
    facts = frozen.user_attrs
    return Trial(
        number=frozen.number,
        choice=Choice(**frozen.params),
        state=facts["state"],
        score=facts["score"],
        figures=None if facts["figures"] is None else TrialFigures.from_json(facts["figures"]),
        reason=reason_of(facts),
        seconds=facts["seconds"],
        host=(facts.get("owner") or {}).get("host"),
    )


def left_behind(frozen: FrozenTrial) -> bool:
    """Whether a running trial of a study that one process works on is so by name only."""
    owner = frozen.user_attrs.get("owner")
    if owner is not None:
        return alive(owner) is False
    now = datetime.datetime.now()  # Optuna stores local time without a zone
    return frozen.datetime_start is not None and (now - frozen.datetime_start).total_seconds() > NAMELESS_S
