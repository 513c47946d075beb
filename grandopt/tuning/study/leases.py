"""Claims that lapse: who works on what, when many processes on many machines share one storage.

A claim is a row that says who holds it until when, taken and renewed in single statements (leases as in Gray
and Cheriton, "Leases: An Efficient Fault-Tolerant Mechanism for Distributed File Cache Consistency", 1989).
All times are of the database's clock, so that those of the machines may differ. A holder that dies, or is cut
off, loses its claims LEASE_S after it last renewed them; one that can be seen to be dead from here, at once.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any

import sqlalchemy
from sqlalchemy.dialects import postgresql, sqlite

from grandopt.limits import document
from grandopt.tuning.owner import alive, this_process
from grandopt.tuning.study.storage import patiently
from grandopt.tuning.study.tables import CLAIMS, NOW

LEASE_S = 60.0
RENEWALS = 6
"""How often a claim is renewed while it would last."""


class Leases:
    """The claims of one holder in a database, renewed by a thread of its own from entering to leaving.

    Thread-safe. Errors of the database pass through, after it was waited for as `patiently` says.
    """

    def __init__(self, engine: sqlalchemy.Engine, lease_s: float = LEASE_S) -> None:
        self._engine = engine
        self._lease_s = lease_s
        self._now = NOW[engine.dialect.name]
        self._insert = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
        self._holder = secrets.token_hex(8)
        self._owner = json.dumps(this_process())
        self._dead: set[str] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="grandopt-leases", daemon=True)

    def __enter__(self) -> Leases:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        with suppress(sqlalchemy.exc.SQLAlchemyError), self._engine.begin() as connection:
            # What cannot be given back now lapses.
            connection.execute(sqlalchemy.delete(CLAIMS).where(CLAIMS.c.holder == self._holder))

    def take(self, scope: str, name: str) -> bool:
        """Whether the claim is this holder's now: it was free, had lapsed, or was already."""
        until = self._now + self._lease_s
        row = {"holder": self._holder, "owner": self._owner, "until": until}
        statement = self._insert(CLAIMS).values(scope=scope, name=name, **row)
        free = sqlalchemy.or_(
            CLAIMS.c.until <= self._now, CLAIMS.c.holder.in_([self._holder, *sorted(self._dead)])
        )
        statement = statement.on_conflict_do_update(
            index_elements=[CLAIMS.c.scope, CLAIMS.c.name], set_=row, where=free
        )
        holder = sqlalchemy.select(CLAIMS.c.holder).where(CLAIMS.c.scope == scope, CLAIMS.c.name == name)

        def done() -> bool:
            with self._engine.begin() as connection:
                connection.execute(statement)
                return bool(connection.execute(holder).scalar_one() == self._holder)

        return patiently(done)

    def keep(self, scope: str, name: str) -> bool:
        """Whether the claim is still this holder's; if so, for a whole lease from now on."""
        return self._changed(
            sqlalchemy.update(CLAIMS)
            .where(CLAIMS.c.scope == scope, CLAIMS.c.name == name, CLAIMS.c.holder == self._holder)
            .values(until=self._now + self._lease_s)
        )

    def release(self, scope: str, name: str) -> None:
        """Give a claim back; one that is not held, or not any more, stays as it is."""
        self._changed(
            sqlalchemy.delete(CLAIMS).where(
                CLAIMS.c.scope == scope, CLAIMS.c.name == name, CLAIMS.c.holder == self._holder
            )
        )

    def held(self, scope: str) -> Mapping[str, Mapping[str, Any]]:
        """By name, the owners of the claims that others hold and that have not lapsed."""
        query = sqlalchemy.select(CLAIMS.c.name, CLAIMS.c.holder, CLAIMS.c.owner).where(
            CLAIMS.c.scope == scope, CLAIMS.c.until > self._now, CLAIMS.c.holder != self._holder
        )

        def asked() -> list[tuple[str, str, str]]:
            with self._engine.connect() as connection:
                return [(row.name, row.holder, row.owner) for row in connection.execute(query)]

        found: dict[str, Mapping[str, Any]] = {}
        for name, holder, said in patiently(asked):
            owner = document(said)
            if holder not in self._dead and alive(owner) is False:
                self._dead.add(holder)
            if holder not in self._dead:
                found[name] = owner
        return found

    def _changed(self, statement: sqlalchemy.Update | sqlalchemy.Delete) -> bool:
        def done() -> bool:
            with self._engine.begin() as connection:
                return bool(connection.execute(statement).rowcount)

        return patiently(done)

    def _renew(self) -> None:
        statement = (
            sqlalchemy.update(CLAIMS)
            .where(CLAIMS.c.holder == self._holder, CLAIMS.c.until > self._now)
            .values(until=self._now + self._lease_s)
        )
        while not self._over.wait(self._lease_s / RENEWALS):
            # Lost for a moment, it is tried again; for longer, the claims lapse, and their holder learns.
            with suppress(sqlalchemy.exc.SQLAlchemyError), self._engine.begin() as connection:
                connection.execute(statement)
