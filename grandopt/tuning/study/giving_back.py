"""What an evaluation that was left unfinished holds is free again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import optuna
from optuna.trial import TrialState


@contextmanager
def given_back(study: optuna.Study, trial: optuna.Trial) -> Iterator[None]:
    """Free the trial's choice when anything unforeseen, an interrupt included, leaves the block."""
    completed = False
    try:
        yield
        completed = True
    finally:
        if not completed:
            with suppress(optuna.exceptions.UpdateFinishedTrialError):  # others have at the same moment
                study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
