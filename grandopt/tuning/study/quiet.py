"""Keeping Optuna from talking to the user."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import optuna


@contextmanager
def quiet_logging() -> Iterator[None]:
    """Only errors of Optuna's own logger, within the block."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


@contextmanager
def no_experimental_warnings() -> Iterator[None]:
    """No warnings that a feature is experimental, within the block."""
    # Multivariate TPE and PED-ANOVA are marked experimental in some of the supported releases.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
