"""A PostgreSQL server that the tests of a file share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.tuning.postgres import PostgresServer, running_postgres


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with running_postgres() as server:
        yield server
