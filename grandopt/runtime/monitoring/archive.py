"""Figures in an SQLite file, which outlives the process and stays within an age and a size.

Version history (`PRAGMA user_version`)
1  first version: one row per figure

A file that cannot be used is never replaced or removed. What goes wrong is logged once, the newest figures
wait in bounded memory, and the service goes on.
"""

from __future__ import annotations

import logging
import math
import sqlite3
from collections import deque
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from grandopt.errors import ConfigError, HistoryError, first_line

ARCHIVE_VERSION = 1
APPLICATION = int.from_bytes(b"gomo", "big")
BUSY_S = 0.25
"""How long a write waits for other programs; the figures wait for the next one."""
WAITING = 120
"""Looks that wait in memory for a file that cannot be written."""
PRUNED_EVERY = 60
"""Writes between two prunings."""
LEAST_BYTES = 1 << 20
TABLE = """
CREATE TABLE figures (at REAL NOT NULL, agent TEXT NOT NULL, measure TEXT NOT NULL, value REAL NOT NULL);
CREATE INDEX figures_by_time ON figures (at);
"""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ArchiveStats:
    """Looks that were written, that wait and that were given up, and what is wrong now, if anything."""

    written: int
    waiting: int
    dropped: int
    problem: str | None


class Archive:
    """Adds looks to the file at `path`, and removes those older than `keep_s` seconds, or as many as it takes
    to stay below `most_bytes`.

    `every` looks are written in one transaction. Not thread-safe: its monitor calls it from one thread.
    Raises ConfigError for an age, a size or a number that cannot be kept; nothing raises because the file
    cannot be used.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        keep_s: float = 7 * 86_400.0,
        most_bytes: int = 64 << 20,
        every: int = 10,
    ) -> None:
        if not (keep_s > 0 and most_bytes >= LEAST_BYTES and 1 <= every <= WAITING):
            raise ConfigError(
                f"an archive keeps a positive number of seconds in at least {LEAST_BYTES} bytes and writes "
                f"every 1 to {WAITING} looks; got keep_s={keep_s}, most_bytes={most_bytes}, every={every}"
            )
        self._path = Path(path)
        self._keep_s, self._most_bytes, self._every = keep_s, most_bytes, every
        self._waiting: deque[tuple[float, Mapping[str, Mapping[str, float]]]] = deque(maxlen=WAITING)
        self._since_write = 0
        self._writes = self._written = self._dropped = 0
        self._problem: str | None = None

    def add(self, wall: float, figures: Mapping[str, Mapping[str, float]]) -> None:
        """Keep the figures of a look, by agent and by name; written with the next few."""
        self._dropped += len(self._waiting) == WAITING
        self._waiting.append((wall, figures))
        self._since_write += 1
        if self._since_write >= self._every:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        self._since_write = 0
        if not self._waiting:
            return
        try:
            self._write()
        except (sqlite3.Error, OSError, HistoryError) as error:
            line = f"the archive of figures {self._path} cannot be written ({first_line(error)[:200]})"
            if self._problem is None:
                log.warning("%s; %d looks wait in memory, serving goes on", line, len(self._waiting))
            self._problem = line
            return
        if self._problem is not None:
            log.info("the archive of figures %s is written again", self._path)
        self._problem = None
        self._written += len(self._waiting)
        self._waiting.clear()

    def stats(self) -> ArchiveStats:
        """What became of the looks."""
        return ArchiveStats(self._written, len(self._waiting), self._dropped, self._problem)

    def _write(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with closing(_opened(self._path, "rwc")) as connection:
            connection.execute("BEGIN IMMEDIATE")
            if _version(self._path, connection) == 0:
                _create(connection)
            connection.executemany(
                "INSERT INTO figures VALUES (?, ?, ?, ?)",
                [
                    (wall, agent, measure, value)
                    for wall, figures in self._waiting
                    for agent, told in figures.items()
                    for measure, value in told.items()
                    if not math.isnan(value)  # which SQLite has no number for
                ],
            )
            if self._writes % PRUNED_EVERY == 0 or _used(connection) > self._most_bytes:
                self._prune(connection)
            connection.execute("COMMIT")
        self._writes += 1

    def _prune(self, connection: sqlite3.Connection) -> None:
        """Remove what is too old, then the oldest tenth until the rest is small enough."""
        newest = self._waiting[-1][0]
        connection.execute("DELETE FROM figures WHERE at < ?", (newest - self._keep_s,))
        while _used(connection) > self._most_bytes:
            rows = connection.execute("SELECT count(*) FROM figures").fetchone()[0]
            bound = connection.execute(
                "SELECT at FROM figures ORDER BY at LIMIT 1 OFFSET ?", (rows // 10,)
            ).fetchone()
            if bound is None or not connection.execute("DELETE FROM figures WHERE at <= ?", bound).rowcount:
                return


def read(path: Path | str, agent: str, measure: str, since: float = 0.0) -> tuple[tuple[float, float], ...]:
    """One figure of the archive at `path`: (seconds since 1970, value), the oldest first.

    Raises HistoryError, in one line, for a file that is missing, damaged, or of another program or version.
    """
    path = Path(path)
    try:
        with closing(_opened(path, "ro")) as connection:
            if _version(path, connection) == 0:
                return ()
            query = "SELECT at, value FROM figures WHERE agent = ? AND measure = ? AND at >= ? ORDER BY at"
            return tuple(connection.execute(query, (agent, measure, since)))
    except sqlite3.Error as error:
        raise HistoryError(f"{path}: the archive cannot be read ({first_line(error)[:200]})") from error


def _opened(path: Path, mode: Literal["ro", "rwc"]) -> sqlite3.Connection:
    place = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(place, uri=True, timeout=BUSY_S, isolation_level=None)


def _create(connection: sqlite3.Connection) -> None:
    for statement in filter(str.strip, TABLE.split(";")):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {ARCHIVE_VERSION}")


def _version(path: Path, connection: sqlite3.Connection) -> int:
    """The version of the file, 0 for an empty one; raises HistoryError for one that is not to be used."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application == 0 and version == 0 and not connection.execute("SELECT * FROM sqlite_master").fetchall():
        return 0
    if application != APPLICATION:
        raise HistoryError(f"{path}: is a database of another program; name another file")
    if version != ARCHIVE_VERSION:
        raise HistoryError(
            f"{path}: is an archive of version {version}, this grandopt knows {ARCHIVE_VERSION}; name "
            f"another file"
        )
    return int(version)


def _used(connection: sqlite3.Connection) -> int:
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)
