"""Opening the database that a study lives in."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import optuna
import sqlalchemy
from optuna.storages import RDBStorage

from grandopt.errors import TuningError
from grandopt.private import url_without_secrets, without

LOCK_TIMEOUT_S = 60
OPEN_ATTEMPTS = 20
ADVICE = {
    "disk is full": "make room",
    "locked": "another program holds it; wait for it, or name another file",
}
"""What to do, by what the database says."""


@contextmanager
def opened(url: str) -> Iterator[RDBStorage]:
    """The storage at `url`; what goes wrong with it, now or later, is a TuningError in one line."""
    try:
        storage = _storage(url)
        try:
            yield storage
        finally:
            storage.remove_session()
            storage.engine.dispose()
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.OptunaError) as error:
        raise TuningError(_unusable(url, error)) from error


def _storage(url: str) -> RDBStorage:
    began = time.monotonic()
    waits = {"connect_args": {"timeout": LOCK_TIMEOUT_S}} if url.startswith("sqlite") else {}
    for attempt in range(OPEN_ATTEMPTS):
        try:
            return RDBStorage(url, engine_kwargs=waits)
        except (sqlalchemy.exc.OperationalError, sqlalchemy.exc.IntegrityError) as error:
            # Two processes that create the tables of a new file at once get in each other's way.
            # What somebody else holds has been waited for, and is not at each attempt again.
            late = time.monotonic() - began >= LOCK_TIMEOUT_S
            if (
                late
                or attempt + 1 == OPEN_ATTEMPTS
                or not any(word in str(error) for word in ("already exists", "locked", "UNIQUE"))
            ):
                raise
            time.sleep(0.1)
        except (ImportError, ValueError, RuntimeError) as error:
            raise TuningError(_unusable(url, error)) from error
    raise AssertionError("the last attempt returns or raises")


def _unusable(url: str, error: BaseException) -> str:
    shown = url_without_secrets(url)
    cause = getattr(error, "orig", None) or error.__cause__ or error
    line = without(str(cause).strip().partition("\n")[0], url)
    advice = next(
        (way for word, way in ADVICE.items() if word in line), "give a URL such as sqlite:///tuning.db"
    )
    return f"tuning storage {shown!r} cannot be used: {line}; {advice}"
