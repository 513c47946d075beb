"""Opening a study of configurations, by one process at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import optuna
from optuna.storages import BaseStorage, InMemoryStorage

from grandopt.errors import TuningError
from grandopt.tuning.configuration.constraints import Constraint
from grandopt.tuning.configuration.goals import OptimizationGoal
from grandopt.tuning.configuration.search_space import SearchSpace
from grandopt.tuning.owner import alive, this_process
from grandopt.tuning.study.configurations import ConfigurationStudy, at_work
from grandopt.tuning.study.log_suppression import quiet_logging
from grandopt.tuning.study.storage import opened


@contextmanager
def opened_study(
    url: str | None,
    name: str,
    space: SearchSpace,
    goals: tuple[OptimizationGoal, ...],
    constraints: tuple[Constraint, ...],
    *,
    seed: int,
    resume: bool = True,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[ConfigurationStudy]:
    """The study `name` in the storage at `url`; without one, in memory.

    With `resume=False` an existing study of that name is deleted first. Raises StorageError when the storage
    cannot be used, and TuningError when it holds a study of that name that was made for something else, or
    another process is at work on it.
    """
    with quiet_logging(), _storage(url) as storage:
        if not resume and name in optuna.get_all_study_names(storage):
            _require_free(optuna.load_study(study_name=name, storage=storage))
            optuna.delete_study(study_name=name, storage=storage)
        study = optuna.create_study(
            study_name=name, storage=storage, directions=["minimize"] * len(goals), load_if_exists=True
        )
        _require_same(study, name, space, goals, constraints)
        # Mixed with the number of trials, so that a resumed search does not draw the same again.
        held = len(study.get_trials(deepcopy=False))
        mixed = int(np.random.SeedSequence([seed, held]).generate_state(1)[0])
        with _held(study):
            yield ConfigurationStudy(study, space, goals, constraints, mixed, clock)


@contextmanager
def _held(study: optuna.Study) -> Iterator[None]:
    """The study is this process's within the block; raises TuningError where another one here has it."""
    _require_free(study)
    study.set_user_attr("owner", this_process())
    try:
        yield
    finally:
        study.set_user_attr("owner", None)


def _require_free(study: optuna.Study) -> None:
    owner = study.user_attrs.get("owner")
    if owner is not None and alive(owner):
        raise TuningError(at_work(owner))


@contextmanager
def _storage(url: str | None) -> Iterator[BaseStorage]:
    if url is None:
        yield InMemoryStorage()
        return
    with opened(url) as storage:
        yield storage


def _require_same(
    study: optuna.Study,
    name: str,
    space: SearchSpace,
    goals: tuple[OptimizationGoal, ...],
    constraints: tuple[Constraint, ...],
) -> None:
    wanted = {
        "goals": [goal.value for goal in goals],
        "constraints": [limit.to_json() for limit in constraints],
        **space.to_json(),
    }
    made_for = study.user_attrs.get("grandopt-configuration")
    if made_for is None and not study.get_trials(deepcopy=False) and "grandopt" not in study.user_attrs:
        study.set_user_attr("grandopt-configuration", wanted)
    elif made_for != wanted:
        parts = [part for part in wanted if (made_for or {}).get(part) != wanted[part]]
        raise TuningError(
            f"study {name!r} was made for another search (other {', '.join(parts)}); start it anew without "
            f"resuming, or take another name"
        )
