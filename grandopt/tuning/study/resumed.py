"""The study of a search: made, gone on with, or started anew."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import optuna
from optuna.storages import RDBStorage

from grandopt.config.schema import Goal
from grandopt.errors import TuningError
from grandopt.tuning.space import ChoiceSpace

Machine = Mapping[str, str]
"""The kind of a machine: its "identity", and its "cpu" in words."""


def delete(storage: RDBStorage, name: str, at_work: Collection[Mapping[str, Any]]) -> None:
    """Delete the study of that name, if there is one; raises TuningError where others are `at_work` on it."""
    if at_work:
        owner = next(iter(at_work))
        raise TuningError(
            f"process {owner['pid']} on {owner['host']} works on study {name!r}; to start it anew, "
            "wait for it"
        )
    with suppress(KeyError):  # there is none to delete
        optuna.delete_study(study_name=name, storage=storage)


def resumed(
    storage: RDBStorage, name: str, space: ChoiceSpace, goal: Goal, machine: Machine | None
) -> optuna.Study:
    """The study of that name, made or gone on with; raises TuningError where it is for something else."""
    study = optuna.create_study(study_name=name, storage=storage, load_if_exists=True)
    wanted = {"goal": goal, **space.to_json()}
    # In this order: whoever makes a study says what it is for before there are trials.
    held = len(study.get_trials(deepcopy=False))
    known = study.user_attrs
    made_for = known.get("grandopt")
    if made_for != wanted and (made_for is not None or held):
        raise TuningError(
            f"study {name!r} was made for another search (it has {made_for or 'trials of its own'}, this is "
            f"{wanted}); start it anew without resuming, or take another name"
        )
    if machine is not None and known.get("machine", machine) != machine:
        raise TuningError(
            f"study {name!r} holds figures of another kind of machine ({known['machine']['cpu']}; this is "
            f"{machine['cpu']}), which are not comparable; take another name"
        )
    if made_for is None:
        study.set_user_attr("grandopt", wanted)
    if machine is not None and "machine" not in known:
        study.set_user_attr("machine", dict(machine))
    return study


def mixed_seed(study: optuna.Study, seed: int) -> int:
    """A seed that depends on the number of trials, so that a resumed run draws not the same choices again."""
    held = len(study.get_trials(deepcopy=False))
    return int(np.random.SeedSequence([seed, held]).generate_state(1)[0])
