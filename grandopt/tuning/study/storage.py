"""Opening the database that a study lives in, and waiting for one that is lost for a moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import optuna
import sqlalchemy
from optuna.storages import RDBStorage

from grandopt.errors import StorageError
from grandopt.private import url_without_secrets, without
from grandopt.tuning.study import address
from grandopt.tuning.study.tables import METADATA

OPEN_ATTEMPTS = 20
RETRY_S = 30.0
"""A server that was there is waited for so long when it is gone: shorter than a lease lasts."""
RETRY_EVERY_S = 0.5
FIRST_TIME = 0x6772616E64  # any number that all have
"""The lock (of PostgreSQL's advisory ones) under which tables are made."""

RIGHTS = "grant this user CREATE on the schema, and SELECT, INSERT, UPDATE and DELETE on its tables"
ADVICE = {
    "disk is full": "make room",
    "locked": "another program holds it; wait for it, or name another file",
    "password": "give the right user and password (in PGPASSWORD or ~/.pgpass nobody else sees them)",
    "pg_hba.conf": "the server does not take this user from here: look into its pg_hba.conf",
    "permission denied": RIGHTS,
    'database "': "give the name of a database that is there, or make it with createdb",
    'role "': "give a user that the server knows",
    "refused": "start the server, or give the right host and port",
    "timeout": "start the server, or give the right host and port",
    "resolve host": "give the right host",
    "name resolution": "give the right host",
    "no such file": "start the server, or give the right host and port",
    "too many": "let fewer machines in at once, or raise the server's max_connections",
}
"""What to do, by what the database says."""

ResultT = TypeVar("ResultT")


@contextmanager
def opened(url: str) -> Iterator[RDBStorage]:
    """The storage at `url`; what goes wrong with it, now or later, is a StorageError in one line."""
    where = address.address(url)
    try:
        storage = _storage(where)
        try:
            yield storage
        finally:
            storage.remove_session()
            storage.engine.dispose()
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.OptunaError) as error:
        raise StorageError(unusable(url, error)) from error


def check(url: str) -> None:
    """Open the storage once and write nothing into it but its tables; raises StorageError as `opened`."""
    with opened(url):
        pass


def patiently(
    action: Callable[[], ResultT],
    *,
    clock: Callable[[], float] = time.monotonic,
    wait: Callable[[float], None] = time.sleep,
) -> ResultT:
    """What `action` returns, tried again for up to RETRY_S seconds while the connection is lost.

    It may be carried out twice, when the connection was lost before the server could say that it was done.
    """
    until = clock() + RETRY_S
    while True:
        try:
            return action()
        except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            if not _lost(error) or clock() >= until:
                raise
        wait(RETRY_EVERY_S)


def _lost(error: BaseException) -> bool:
    """Whether it is the connection that failed, and not what was asked through it."""
    found = error if isinstance(error, sqlalchemy.exc.SQLAlchemyError) else error.__cause__
    if not isinstance(found, sqlalchemy.exc.DBAPIError) or found.orig is None:
        return False
    if not type(found.orig).__module__.startswith("psycopg"):
        return False
    state = getattr(found.orig, "sqlstate", None)
    # Without a state the server was not reached; class 08 is a broken connection, 57P a server that stops.
    return found.connection_invalidated or (
        isinstance(found, sqlalchemy.exc.OperationalError)
        and (state is None or str(state).startswith(("08", "57P")))
    )


def _storage(url: sqlalchemy.URL) -> RDBStorage:
    options, text = address.engine_options(url), url.render_as_string(hide_password=False)
    began = time.monotonic()
    for attempt in range(OPEN_ATTEMPTS):
        try:
            with _alone(url):
                storage = RDBStorage(text, engine_kwargs=options)
                METADATA.create_all(storage.engine)  # on PostgreSQL they are there by now
                return storage
        except (sqlalchemy.exc.OperationalError, sqlalchemy.exc.IntegrityError) as error:
            # Two processes that create the tables of a new file at once get in each other's way.
            # What somebody else holds has been waited for, and is not at each attempt again.
            late = time.monotonic() - began >= address.LOCK_TIMEOUT_S
            if (
                late
                or attempt + 1 == OPEN_ATTEMPTS
                or not any(word in str(error) for word in ("already exists", "locked", "UNIQUE"))
            ):
                raise
            time.sleep(0.1)
        except (ImportError, ValueError, RuntimeError) as error:
            raise StorageError(unusable(text, error)) from error
    raise AssertionError("the last attempt returns or raises")


@contextmanager
def _alone(url: sqlalchemy.URL) -> Iterator[None]:
    """Nobody else opens this database within the block, where it can keep others out."""
    if url.drivername != address.DRIVER:
        yield
        return
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool, **address.engine_options(url))
    try:
        with engine.connect() as connection:
            # The server's to keep until the connection is closed.
            connection.execute(sqlalchemy.select(sqlalchemy.func.pg_advisory_lock(FIRST_TIME)))
            # Without the right to make tables it ends here, where the connection is ours to close.
            METADATA.create_all(connection)
            connection.commit()
            yield
    finally:
        engine.dispose()


def unusable(url: str, error: BaseException) -> str:
    """What is said of a storage that raised this, in one line without its password."""
    shown = url_without_secrets(url)
    cause = getattr(error, "orig", None) or error.__cause__ or error
    cause = getattr(cause, "orig", None) or cause
    lines = [line.strip(" \t-") for line in str(cause).splitlines() if line.strip()] or [type(cause).__name__]
    line = next((line for line in lines if not line.endswith(":")), lines[0])
    line = without(line, url).rstrip(".")
    advice = next((way for word, way in ADVICE.items() if word in line.lower()), address.EXAMPLES)
    return f"tuning storage {shown!r} cannot be used: {line}; {advice}"
