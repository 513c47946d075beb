"""Optuna's trials in our own terms."""

from __future__ import annotations

import datetime

import optuna
from optuna.trial import FrozenTrial, TrialState

from grandopt.reason import reason_of
from grandopt.tuning.claims import StoredTrial
from grandopt.tuning.objective import TrialFigures
from grandopt.tuning.result import Trial
from grandopt.tuning.space import Choice


def entries_of(study: optuna.Study) -> list[StoredTrial]:
    """All trials of the study that are running or finished; interrupted ones (FAIL) do not count."""
    now = datetime.datetime.now()  # Optuna stores local time without a zone
    return [
        StoredTrial(
            number=trial.number,
            running=not trial.state.is_finished(),
            choice=Choice(**trial.params) if len(trial.params) == 3 else None,
            owner=trial.user_attrs.get("owner"),
            age_s=(now - trial.datetime_start).total_seconds() if trial.datetime_start else 0.0,
        )
        for trial in study.get_trials(deepcopy=False)
        if trial.state != TrialState.FAIL
    ]


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
    )
