"""The history file: SQLite, so that several runs may append at once and anybody can query it.

Version history (`PRAGMA user_version`)
1  first version

A line is one transaction under the file's own lock, with the rollback journal that is SQLite's default: a
history is written once a run, and unlike a write-ahead log this leaves one file that may lie on any file
system, and may be read where nothing can be written. Nothing here ever replaces or removes a file: one that
cannot be used is refused and stays as it is.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from grandopt import limits
from grandopt.errors import HistoryError, first_line
from grandopt.reporting.history.records import AgentRecord, Record, RunRecord, agent_records, run_record
from grandopt.reporting.report import Report

HISTORY_VERSION = 1

APPLICATION = int.from_bytes(b"gopt", "big")
"""`PRAGMA application_id`: what tells a history from the databases of other programs."""

BUSY_S = 5.0
"""How long to wait for other writers, each of which needs milliseconds."""

TABLES = """
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, status TEXT NOT NULL, started TEXT NOT NULL,
    duration_s REAL NOT NULL, grandopt TEXT NOT NULL, machine TEXT NOT NULL, cpu_model TEXT, python TEXT,
    libraries TEXT NOT NULL, profile TEXT, seed INTEGER NOT NULL, threads TEXT NOT NULL, command TEXT NOT NULL
);
CREATE TABLE agents (
    run INTEGER NOT NULL REFERENCES runs (id), agent TEXT NOT NULL, status TEXT NOT NULL, source TEXT,
    goal TEXT, engine TEXT, precision TEXT, label TEXT, digest TEXT, original_p50_us REAL, p50_us REAL,
    p99_us REAL, qps REAL, speedup REAL, speedup_low REAL, speedup_high REAL, resident_mb REAL,
    artifact_bytes INTEGER, process_ms REAL, limit_factor REAL, stable INTEGER
);
CREATE INDEX agents_by_name ON agents (agent, run);
"""

RUN_FIELDS = tuple(field.name for field in fields(RunRecord))
AGENT_FIELDS = tuple(field.name for field in fields(AgentRecord))
RUN, AGENT = TypeAdapter(RunRecord), TypeAdapter(AgentRecord)
JSON_FIELDS = ("libraries", "command")


def append(path: Path, report: Report, busy_s: float = BUSY_S) -> None:
    """Add a run to the history in `path`, which is made if it is missing; all of it or nothing.

    Raises HistoryError, in one line, for a file that is damaged, of another program, of a newer version, or
    that cannot be written within `busy_s` seconds; such a file stays as it is.
    """
    run, agents = run_record(report), tuple(agent_records(report))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HistoryError(f"{path}: the history cannot be written ({error.strerror})") from error
    with _opened(path, "rwc", busy_s) as connection:
        connection.execute("BEGIN IMMEDIATE")
        if _version(path, connection) == 0:
            for statement in TABLES.split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {HISTORY_VERSION}")
        number = connection.execute(_insert("runs", RUN_FIELDS), _values(vars(run))).lastrowid
        connection.executemany(
            _insert("agents", ("run", *AGENT_FIELDS)),
            [{"run": number, **_values(vars(agent))} for agent in agents],
        )
        connection.execute("COMMIT")


def read(path: Path, busy_s: float = BUSY_S) -> tuple[Record, ...]:
    """All records, the oldest run first, and within a run as the report has them.

    Raises HistoryError, in one line, for a file that is missing, damaged, of another program or of a newer
    version.
    """
    try:
        limits.opened(path, limits.HISTORY_BYTES).close()
    except FileNotFoundError as error:
        raise HistoryError(
            f"{path}: no such history; every run of `grandopt optimize` adds to reports/history.sqlite"
        ) from error
    except OSError as error:
        raise HistoryError(f"{limits.shortened(path)}: cannot be read ({error.strerror})") from error
    names = [f"runs.{name}" for name in RUN_FIELDS] + [f"agents.{name}" for name in AGENT_FIELDS]
    query = (
        f"SELECT {', '.join(names)} FROM agents JOIN runs ON runs.id = agents.run "
        f"ORDER BY runs.started, runs.id, agents.rowid"
    )
    with _opened(path, "ro", busy_s) as connection:
        if _version(path, connection) == 0:
            return ()
        return tuple(_record(row) for row in connection.execute(query))


@contextmanager
def _opened(path: Path, mode: str, busy_s: float) -> Iterator[sqlite3.Connection]:
    """A connection in autocommit mode; what SQLite says against the file becomes a HistoryError."""
    place = f"{path.absolute().as_uri()}?mode={mode}"
    try:
        with closing(sqlite3.connect(place, uri=True, timeout=busy_s, isolation_level=None)) as connection:
            yield connection
    except sqlite3.Error as error:
        raise HistoryError(
            f"{path}: the history cannot be used ({_said(error)}); {_advice(error)}"
        ) from error
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise HistoryError(f"{path}: the history cannot hold such a record ({first_line(error)})") from error


def _said(error: sqlite3.Error) -> str:
    """What SQLite says, on one line: it quotes the file, whatever is in that."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(error))[:200]


def _advice(error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return "another program holds it, try again later"
    if code is not None and code & 0xFF in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
        return "make its folder and the file writable"
    if code is not None and code & 0xFF == sqlite3.SQLITE_FULL:
        return "make room on its disk"
    return "move it away to begin a new one"


def _version(path: Path, connection: sqlite3.Connection) -> int:
    """The version of the file, 0 for an empty one; raises HistoryError for one that is not to be used."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application == 0 and version == 0 and not connection.execute("SELECT * FROM sqlite_master").fetchall():
        return 0
    if application != APPLICATION:
        raise HistoryError(f"{path}: is a database of another program, not a history of grandopt")
    if not 1 <= version <= HISTORY_VERSION:
        raise HistoryError(
            f"{path}: is a history of version {version}, this grandopt knows versions 1 to "
            f"{HISTORY_VERSION}; use the grandopt that wrote it, or a newer one"
        )
    return int(version)


def _insert(table: str, names: tuple[str, ...]) -> str:
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(':' + name for name in names)})"


def _values(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: json.dumps(value, ensure_ascii=False) if name in JSON_FIELDS else value
        for name, value in record.items()
    }


def _record(row: tuple[Any, ...]) -> Record:
    run = dict(zip(RUN_FIELDS, row, strict=False))
    for name in JSON_FIELDS:
        run[name] = json.loads(run[name])
    run["command"] = tuple(run["command"])
    agent = dict(zip(AGENT_FIELDS, row[len(RUN_FIELDS) :], strict=True))
    agent["stable"] = None if agent["stable"] is None else bool(agent["stable"])
    return Record(RUN.validate_python(run), AGENT.validate_python(agent))
