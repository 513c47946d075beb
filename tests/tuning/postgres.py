"""A real PostgreSQL server for tests."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

START_S = 60.0
PASSWORD = "s3cretHorse"
USER = "fleet"
INSTALLED = Path("/usr/lib/postgresql")
SMALL = ("max_connections=60", "shared_buffers=16MB", "fsync=off", "unix_socket_directories=")


class PostgresServer:
    """A server on a port of its own, whose only user is `fleet`, with a password.

    It refuses to be run by root, for whom it runs as somebody who owns nothing else.
    """

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs, self._data, self._log = programs, folder / "data", folder / "log"
        self._as = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid} if os.getuid() == 0 else {}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._process: subprocess.Popen[bytes] | None = None
        if self._as:
            shutil.chown(folder, "nobody")
        secret = folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        command = [programs / "initdb", "-D", self._data, "-U", USER, f"--pwfile={secret}", "--no-sync"]
        subprocess.run(
            [*command, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"],
            check=True, capture_output=True, cwd="/", extra_groups=[] if self._as else None, **self._as,
        )  # fmt: skip

    def url(self, database: str = "postgres", *, user: str = USER, password: str = PASSWORD) -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def new_database(self, name: str) -> str:
        """The URL of a database that holds nothing yet."""
        self.ask(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def ask(self, query: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """The rows of a query as the server's owner."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(query)  # type: ignore[arg-type]  # a literal of ours
            return cursor.fetchall() if cursor.description else []

    def start(self) -> None:
        options = [word for setting in SMALL for word in ("-c", setting)]
        command = [self._programs / "postgres", "-D", self._data, "-h", "127.0.0.1", "-p", str(self.port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *options], stdout=log, stderr=log, cwd="/",
                extra_groups=[] if self._as else None, **self._as,
            )  # fmt: skip
        import psycopg

        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            try:
                self.ask("SELECT 1")
                return
            except psycopg.OperationalError:
                assert self._process.poll() is None, self._log.read_text()[-800:]
                time.sleep(0.05)
        self.stop()
        raise RuntimeError(f"postgres did not start: {self._log.read_text()[-800:]}")

    def stop(self) -> None:
        """Ends at once, in the middle of what is asked."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(timeout=30)
            self._process = None


def programs() -> Path | None:
    """The folder of the newest server's programs, None where there is none."""
    found = shutil.which("initdb")
    if found is not None and shutil.which("postgres") is not None:
        return Path(found).resolve().parent
    versions = sorted(INSTALLED.glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return versions[-1].parent if versions else None


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """A started server; skips when there is none on this machine."""
    pytest.importorskip("psycopg", reason="skipped: psycopg is not installed")
    where = programs()
    if where is None:
        pytest.skip("skipped: postgres not found")
    # Not pytest's own folder, into which nobody but its owner may look.
    with tempfile.TemporaryDirectory(prefix="grandopt-postgres-") as name:
        server = PostgresServer(where, Path(name))
        server.start()
        try:
            yield server
        finally:
            server.stop()
