"""Keeping Optuna and its database from talking to the user."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import optuna


@contextmanager
def quiet_logging() -> Iterator[None]:
    """Only errors of Optuna's own logger, and none of the connection pool's, within the block."""
    before = optuna.logging.get_verbosity()
    # An interrupt that arrives while a connection is being closed is logged with its traceback and raised.
    pool = logging.getLogger("sqlalchemy.pool")
    level = pool.level
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pool.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        pool.setLevel(level)
        optuna.logging.set_verbosity(before)


@contextmanager
def no_experimental_warnings() -> Iterator[None]:
    """No warnings that a feature is experimental, within the block."""
    # Multivariate TPE and PED-ANOVA are marked experimental in some of the supported releases.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
