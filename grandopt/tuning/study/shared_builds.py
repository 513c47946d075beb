"""Who builds what, when many machines share a store of builds, and which builds came to nothing anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

import sqlalchemy
from sqlalchemy.dialects import postgresql, sqlite

from grandopt.errors import StorageError
from grandopt.limits import document
from grandopt.reason import Reason, reason_fields, reason_of
from grandopt.tuning.study.leases import LEASE_S, Leases
from grandopt.tuning.study.log_suppression import quiet_logging
from grandopt.tuning.study.storage import opened, patiently, unusable
from grandopt.tuning.study.tables import REFUSALS

ResultT = TypeVar("ResultT")


class SharedBuilds:
    """Claims on builds, by their keys, among those who share the store of that name; and refusals among all.

    A key holds all that the outcome of a build depends on. Thread-safe. Raises StorageError where the
    storage at `url` cannot be asked any more.
    """

    def __init__(self, url: str, engine: sqlalchemy.Engine, leases: Leases, store: str) -> None:
        self._url = url
        self._engine = engine
        self._leases = leases
        self._scope = f"builds in {store}"
        self._insert = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert

    def take(self, key: str) -> bool:
        """Whether the build is ours to make."""
        return self._asked(lambda: self._leases.take(self._scope, key))

    def release(self, key: str) -> None:
        """Say that the build is not in the making any more."""
        self._asked(lambda: self._leases.release(self._scope, key))

    def refused(self, key: str) -> Reason | None:
        """Why the build came to nothing on some machine; None where none tried, or it came to something."""
        query = sqlalchemy.select(REFUSALS.c.reason, REFUSALS.c.made).where(REFUSALS.c.key == key)

        def asked() -> Reason | None:
            with self._engine.connect() as connection:
                row = connection.execute(query).one_or_none()
            reason = None if row is None else reason_of(document(row.reason))
            return None if row is None or reason is None else _told(reason, row.made)

        return self._asked(lambda: patiently(asked))

    def refuse(self, key: str, reason: Reason) -> None:
        """Tell all machines that the build comes to nothing, and why."""
        statement = self._insert(REFUSALS).values(
            key=key, reason=json.dumps(reason_fields(reason)), made=datetime.now(UTC).date().isoformat()
        )

        def done() -> None:
            with self._engine.begin() as connection:
                connection.execute(statement.on_conflict_do_nothing())

        self._asked(lambda: patiently(done))

    def _asked(self, action: Callable[[], ResultT]) -> ResultT:
        try:
            return action()
        except sqlalchemy.exc.SQLAlchemyError as error:
            raise StorageError(unusable(self._url, error)) from error


def _told(reason: Reason, made: str) -> Reason:
    """The reason for a report of a machine that did not find it out itself."""
    return replace(reason, text=f"{reason.text} (found by a machine on this storage on {made})")


@contextmanager
def shared_builds(url: str, store: str, lease_s: float = LEASE_S) -> Iterator[SharedBuilds]:
    """The builds that the storage at `url` knows of; raises StorageError where it cannot be used."""
    with quiet_logging(), opened(url) as storage, Leases(storage.engine, lease_s) as leases:
        yield SharedBuilds(url, storage.engine, leases, store)
