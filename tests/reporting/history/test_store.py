"""The history file: nothing is lost, nothing is destroyed, and what cannot be used is one line."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from grandopt.errors import HistoryError
from grandopt.reporting.history.store import HISTORY_VERSION, append, read
from grandopt.reporting.report import load_report
from tests.reporting.history.records import agent, run
from tests.reporting.samples import failed, kept, optimized, tuning
from tests.reporting.test_golden import GOLDEN, golden


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "reports" / "history.sqlite"


def execute(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()


def test_what_was_appended_is_read_back(path: Path) -> None:
    append(path, run(1, agent(25.0), kept(), failed()))
    append(path, run(0, agent(20.0)))
    records = read(path)
    assert [record.agent.agent for record in records] == [
        "decision_gate",
        "decision_gate",
        "lvn_embedder",
        "fvg",
    ]
    first, second = records[:2]
    assert (first.agent.p50_us, second.agent.p50_us) == (20.0, 25.0)
    assert (second.agent.original_p50_us, second.agent.speedup, second.agent.stable) == (50.0, 2.0, True)
    assert (second.agent.engine, second.agent.label) == ("torchscript", "torchscript/int8_dynamic")
    assert (records[3].agent.status, records[3].agent.p50_us) == ("failed", None)
    assert (second.run.machine, second.run.libraries) == ("ab" * 32, {"torch": "2.13.0"})
    assert (second.run.command, second.run.threads, second.run.profile) == (
        ("grandopt", "optimize"),
        "1",
        "aggressive",
    )


def test_a_search_keeps_what_its_best_trial_measured(path: Path) -> None:
    study = tuning()
    study["trials"][1]["figures"] = {"latency_us": 25.0, "throughput": 4e4}
    append(path, run(0, optimized(status="measured", shipped=None, candidates=(), tuning=study), kind="tune"))
    study["trials"][1]["choice"]["batch"] = 8
    append(path, run(1, optimized(status="measured", shipped=None, candidates=(), tuning=study), kind="tune"))
    single, batched = read(path)
    assert (single.run.kind, single.agent.goal) == ("tune", "latency")
    assert (single.agent.p50_us, single.agent.qps) == (25.0, 4e4)
    assert (batched.agent.p50_us, batched.agent.qps) == (None, 4e4)


def test_what_the_run_did_not_come_to_is_not_kept(path: Path) -> None:
    waiting = kept("later", status="not run", shipped=None, original=None)
    append(path, run(0, agent(25.0), waiting, status="partial"))
    assert [(record.agent.agent, record.run.status) for record in read(path)] == [
        ("decision_gate", "partial")
    ]


def test_real_reports_of_every_version_can_be_kept(path: Path) -> None:
    for version in (1, 2, 3):
        append(path, load_report(golden(version)))
    assert len(read(path)) == 6


@pytest.mark.parametrize("version", range(1, HISTORY_VERSION + 1))
def test_a_history_of_every_version_opens(version: int) -> None:
    records = read(GOLDEN / f"history.v{version}.sqlite")
    assert [record.agent.agent for record in records] == ["decision_gate", "lvn_embedder"]
    assert all(record.agent.p50_us for record in records)


def test_many_writers_lose_nothing(path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda day: append(path, run(day, agent(25.0 + day)), busy_s=60.0), range(40)))
    assert sorted(record.agent.p50_us or 0 for record in read(path)) == [25.0 + day for day in range(40)]


def test_a_run_is_kept_whole_or_not_at_all(path: Path) -> None:
    append(path, run(0, agent(25.0)))
    execute(
        path,
        "CREATE TRIGGER no BEFORE INSERT ON agents WHEN NEW.agent = 'b' BEGIN SELECT RAISE(ABORT, 'no'); END",
    )
    with pytest.raises(HistoryError, match="no"):
        append(path, run(1, agent(25.0, name="a"), agent(25.0, name="b")))
    assert len(read(path)) == 1


def newer(path: Path) -> None:
    append(path, run(0, agent(25.0)))
    execute(path, f"PRAGMA user_version = {HISTORY_VERSION + 1}")


def foreign(path: Path) -> None:
    path.parent.mkdir()
    execute(path, "CREATE TABLE songs (name TEXT)")


def damaged(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is no database, but long enough to look at " * 40)


def cut(path: Path) -> None:
    for day in range(30):
        append(path, run(day, agent(25.0)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (newer, f"is a history of version {HISTORY_VERSION + 1}, this grandopt knows versions 1 to"),
        (foreign, "is a database of another program"),
        (damaged, "file is not a database"),
        (cut, "malformed"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_stays_as_it_is(path: Path, make: object, words: str) -> None:
    assert callable(make)
    make(path)
    before = path.read_bytes()
    for use in (lambda: append(path, run(5, agent(1.0))), lambda: read(path)):
        with pytest.raises(HistoryError, match=words) as caught:
            use()
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@contextmanager
def held(path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")


def test_a_history_that_another_program_holds_is_waited_for_no_longer_than_said(path: Path) -> None:
    append(path, run(0, agent(25.0)))
    with held(path), pytest.raises(HistoryError, match=r"locked.*try again later"):
        append(path, run(1, agent(25.0)), busy_s=0.05)
    append(path, run(1, agent(25.0)))
    assert len(read(path)) == 2


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("a file where the folder should be")
    with pytest.raises(HistoryError, match="cannot be written"):
        append(tmp_path / "reports" / "history.sqlite", run(0, agent(25.0)))
    (tmp_path / "folder.sqlite").mkdir()
    with pytest.raises(HistoryError, match=r"unable to open database file.*writable"):
        append(tmp_path / "folder.sqlite", run(0, agent(25.0)))


def test_a_missing_history_is_said_and_not_made(path: Path) -> None:
    with pytest.raises(HistoryError, match="no such history"):
        read(path)
    assert not path.exists()


def test_an_empty_file_is_an_empty_history(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    assert read(path) == ()
    append(path, run(0, agent(25.0)))
    assert len(read(path)) == 1
