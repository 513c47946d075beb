"""Claims that lapse, in SQLite and in PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy

from grandopt.tuning.study.leases import Leases
from grandopt.tuning.study.storage import opened
from grandopt.tuning.study.tables import CLAIMS
from tests.tuning.postgres import PostgresServer


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sqlalchemy.Engine]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'studies.db'}"
    else:
        url = request.getfixturevalue("postgres").new_database(tmp_path.name)
    with opened(url) as storage:
        yield storage.engine


def test_one_holder_at_a_time(engine: sqlalchemy.Engine) -> None:
    with Leases(engine) as one, Leases(engine) as two:
        assert one.take("study", "a")
        assert one.take("study", "a"), "what is held may be taken again"
        assert not two.take("study", "a")
        assert two.take("study", "b")
        assert two.take("another study", "a")
        assert set(one.held("study")) == {"b"}
        assert set(two.held("study")) == {"a"}
        assert one.keep("study", "a")
        assert not two.keep("study", "a")
        two.release("study", "a")
        assert not two.take("study", "a"), "only its holder can release it"
        one.release("study", "a")
        assert two.take("study", "a")
    with Leases(engine) as three:
        assert three.held("study") == {}, "who leaves gives back all that is left"


def test_a_claim_lapses_and_is_renewed_while_its_holder_lives(
    engine: sqlalchemy.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, living = Leases(engine, 0.2), Leases(engine, 0.2)
    assert gone.take("study", "a")  # its thread does not run, as if it had been killed
    with living, Leases(engine) as other:
        assert living.take("study", "b")
        time.sleep(0.6)
        assert set(other.held("study")) == {"b"}
        assert not other.take("study", "b")
        assert other.take("study", "a")
        assert not gone.keep("study", "a"), "who was held up for too long learns it"


def test_the_machines_clock_does_not_matter(
    engine: sqlalchemy.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Leases(engine) as one, Leases(engine) as two:
        monkeypatch.setattr(time, "time", lambda: 4e9)
        assert one.take("study", "a")
        monkeypatch.setattr(time, "time", lambda: 0.0)
        assert not two.take("study", "a")
        with engine.connect() as connection:
            until = connection.execute(sqlalchemy.select(CLAIMS.c.until)).scalar_one()
        monkeypatch.undo()
        assert 50 < until - time.time() < 70, "it is the database's time that was written"


def test_a_server_that_is_away_for_a_moment(postgres: PostgresServer) -> None:
    with opened(postgres.new_database("moment")) as storage, Leases(storage.engine) as leases:
        assert leases.take("study", "a")
        postgres.stop()
        postgres.start()
        assert leases.keep("study", "a")
        assert leases.take("study", "b")
