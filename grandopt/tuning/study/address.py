"""Where a study may be kept: SQLite on this machine, PostgreSQL for many."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import sqlalchemy

from grandopt.errors import StorageError
from grandopt.private import url_without_secrets

EXAMPLES = "give a URL such as sqlite:///tuning.db or postgresql://user@host/database"
EXTRA = "pip install 'grandopt[postgresql]'"
DRIVER = "postgresql+psycopg"
POSTGRESQL = ("postgres", "postgresql", DRIVER)
UNPICKLING = ("redis", "rediss", "unix", "journal")
SUFFIXES = (".log", ".journal", ".pkl", ".pickle")

LOCK_TIMEOUT_S = 60
CONNECT_TIMEOUT_S = 10
SILENT_MS = 30_000
"""A server from which nothing is heard for this long is taken for lost."""


def address(url: str) -> sqlalchemy.URL:
    """The URL with the driver that is used for it; raises StorageError for one that is of no use."""
    shown = url_without_secrets(url)
    scheme = url.partition(":")[0].lower()
    if scheme in UNPICKLING or ("://" not in url and url.lower().endswith(SUFFIXES)):
        raise StorageError(
            f"tuning storage {shown!r} cannot be used: a journal in Redis or in a file is unpickled, so that "
            f"whoever writes to it runs code on every machine that reads it; {EXAMPLES}"
        )
    try:
        parsed = sqlalchemy.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError) as error:
        raise StorageError(f"tuning storage {shown!r} cannot be used: it is no URL; {EXAMPLES}") from error
    name = parsed.drivername
    if name in POSTGRESQL:
        if find_spec("psycopg") is None:
            raise StorageError(
                f"tuning storage {shown!r} cannot be used: psycopg is not installed; {EXTRA}", remedy=EXTRA
            )
        return parsed.set(drivername=DRIVER)
    if name.partition("+")[0] == "sqlite":
        return parsed
    raise StorageError(
        f"tuning storage {shown!r} cannot be used: {name!r} is neither SQLite nor PostgreSQL; {EXAMPLES}"
    )


def engine_options(url: sqlalchemy.URL) -> dict[str, Any]:
    """How to connect: with limits on waiting, and a look at each connection before it is used again."""
    if url.drivername != DRIVER:
        return {"connect_args": {"timeout": LOCK_TIMEOUT_S}}
    wanted = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "application_name": "grandopt",
        "keepalives_idle": 10,
        "tcp_user_timeout": SILENT_MS,
    }
    given = {name: value for name, value in wanted.items() if name not in url.query}
    return {"connect_args": given, "pool_pre_ping": True}
