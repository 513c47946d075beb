"""A storage that cannot be used is one line that says what to do, without the password."""

from __future__ import annotations

import pytest

from grandopt.errors import StorageError
from grandopt.tuning.study import address
from grandopt.tuning.study.storage import check
from tests.tuning.postgres import PASSWORD, PostgresServer


def said(url: str) -> str:
    with pytest.raises(StorageError) as caught:
        check(url)
    message = str(caught.value)
    assert "\n" not in message
    assert "cannot be used" in message
    assert PASSWORD not in message
    return message


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "sqlite:////nonexistent-folder/study.db",
        "unknowndb://host/name",
        f"mysql://bob:{PASSWORD}@host/name",
        f"postgresql+pg8000://bob:{PASSWORD}@host/name",
    ],
)
def test_what_is_no_storage_names_what_is(url: str) -> None:
    assert "sqlite:///tuning.db or postgresql://" in said(url)


@pytest.mark.parametrize(
    "url",
    [f"redis://:{PASSWORD}@localhost", "rediss://host", "journal.log", "studies.JOURNAL", "journal://x"],
)
def test_a_journal_is_refused_because_it_is_unpickled(url: str) -> None:
    assert "is unpickled, so that whoever writes to it runs code" in said(url)


def test_without_the_driver_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "find_spec", lambda name: None)
    message = said(f"postgres://bob:{PASSWORD}@host/name")
    assert "psycopg is not installed; pip install 'grandopt[postgresql]'" in message


def test_no_server(postgres: PostgresServer) -> None:
    message = said(f"postgresql://bob:{PASSWORD}@127.0.0.1:1/name")
    assert "127.0.0.1" in message
    assert "start the server, or give the right host and port" in message
    assert "give the right host" in said(f"postgres://bob:{PASSWORD}@no-such-host.invalid/name")


def test_user_password_database_and_rights(postgres: PostgresServer) -> None:
    assert "PGPASSWORD" in said(postgres.url(password=f"not{PASSWORD}"))
    assert "PGPASSWORD" in said(postgres.url(user="stranger"))
    message = said(postgres.url("absent"))
    assert f"127.0.0.1:{postgres.port}" in message
    assert "createdb" in message
    postgres.ask(f"CREATE ROLE guest LOGIN PASSWORD '{PASSWORD}'")
    postgres.new_database("locked_away")
    message = said(postgres.url("locked_away", user="guest"))  # since PostgreSQL 15 only owners may create
    assert "permission denied" in message
    assert "grant this user CREATE on the schema" in message
