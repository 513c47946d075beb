"""The archive of figures: what comes back, what is pruned, and files that cannot be used."""

from __future__ import annotations

import logging
import math
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from grandopt.errors import ConfigError, HistoryError
from grandopt.runtime.monitoring.archive import LEAST_BYTES, WAITING, Archive, read
from grandopt.runtime.monitoring.sources import AgentSource
from tests.runtime.monitoring.serving import Clock, Service, monitor


def test_figures_come_back(tmp_path: Path) -> None:
    path = tmp_path / "made" / "figures.sqlite"
    clock, service = Clock(), Service()
    watch = monitor(clock, archive=Archive(path, every=2))
    watch.watch(AgentSource("gate", service.stats))
    for second in range(5):
        service.counts["depth"] = second
        watch.look()
        clock.now += 1
    assert [value for _, value in read(path, "gate", "depth")] == [0, 1, 2, 3]
    watch.close()
    assert read(path, "gate", "depth") == tuple((1000.0 + second, second) for second in range(5))
    assert read(path, "gate", "depth", since=1003.0) == ((1003.0, 3.0), (1004.0, 4.0))
    archive = watch.stats().archive
    assert archive is not None
    assert (archive.written, archive.waiting, archive.problem) == (5, 0, None)


def test_what_is_too_old_goes(tmp_path: Path) -> None:
    path = tmp_path / "figures.sqlite"
    archive = Archive(path, keep_s=100, every=1)
    archive.add(1000.0, {"gate": {"depth": 1.0}})
    for second in range(130):  # pruned with the 61st and the 121st write
        archive.add(1050.0 + second, {"gate": {"depth": 2.0}})
    assert read(path, "gate", "depth")[0][0] >= 1050.0 + 119 - 100


def test_the_file_stays_small(tmp_path: Path) -> None:
    path = tmp_path / "figures.sqlite"
    archive = Archive(path, most_bytes=LEAST_BYTES, every=20)
    figures = {f"agent {number}": {"depth": 1.0, "p99": 2.0, "rate": 3.0} for number in range(50)}
    for second in range(600):
        archive.add(float(second), figures)
    archive.flush()
    kept = read(path, "agent 1", "depth")
    assert 10 < len(kept) < 600
    assert kept[-1][0] == 599.0
    assert path.stat().st_size < 2 * LEAST_BYTES
    assert archive.stats().problem is None


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4000])
def test_a_damaged_file_is_told_once_and_stays(
    content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "figures.sqlite"
    path.write_bytes(content)
    archive = Archive(path, every=1)
    with caplog.at_level(logging.WARNING):
        for second in range(WAITING + 10):
            archive.add(float(second), {"gate": {"depth": 1.0}})
    assert path.read_bytes() == content
    assert len(caplog.records) == 1
    assert "cannot be written" in caplog.text
    stats = archive.stats()
    assert (stats.written, stats.waiting, stats.dropped) == (0, WAITING, 10)
    assert stats.problem is not None
    with pytest.raises(HistoryError, match="cannot be read"):
        read(path, "gate", "depth")


def test_files_of_others_and_of_newer_versions_stay(tmp_path: Path) -> None:
    other, newer = tmp_path / "other.sqlite", tmp_path / "newer.sqlite"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    Archive(newer, every=1).add(1.0, {"gate": {"depth": 1.0}})
    with closing(sqlite3.connect(newer)) as connection:
        connection.execute("PRAGMA user_version = 7")
    for path, said in ((other, "a database of another program"), (newer, "an archive of version 7")):
        archive = Archive(path, every=1)
        archive.add(1.0, {"gate": {"depth": 1.0}})
        assert said in str(archive.stats().problem)
        with pytest.raises(HistoryError, match=said):
            read(path, "gate", "depth")


def test_a_locked_file_is_written_later(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "figures.sqlite"
    archive = Archive(path, every=1)
    archive.add(1.0, {"gate": {"depth": 1.0}})
    with closing(sqlite3.connect(path, isolation_level=None)) as holder, caplog.at_level(logging.INFO):
        holder.execute("BEGIN EXCLUSIVE")
        archive.add(2.0, {"gate": {"depth": 2.0}})
        assert "locked" in str(archive.stats().problem)
        holder.execute("COMMIT")
        archive.add(3.0, {"gate": {"depth": 3.0}})
    assert [value for _, value in read(path, "gate", "depth")] == [1.0, 2.0, 3.0]
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "figures.sqlite", tmp_path):
        archive = Archive(path, every=1)
        archive.add(1.0, {"gate": {"depth": 1.0}})
        assert archive.stats().problem is not None
    with pytest.raises(HistoryError, match="cannot be read"):
        read(tmp_path / "missing.sqlite", "gate", "depth")


def test_limits_that_cannot_be_kept_are_refused(tmp_path: Path) -> None:
    for options in ({"keep_s": 0.0}, {"most_bytes": 1000}, {"every": 0}, {"every": WAITING + 1}):
        with pytest.raises(ConfigError, match="an archive keeps"):
            Archive(tmp_path / "figures.sqlite", **options)


def test_a_figure_that_is_no_number_holds_up_no_others(tmp_path: Path) -> None:
    path = tmp_path / "figures.sqlite"
    archive = Archive(path, every=1)
    archive.add(1000.0, {"gate": {"depth": math.nan, "p99": 1.0}})
    archive.add(1001.0, {"gate": {"depth": 2.0}})
    assert archive.stats().problem is None
    assert read(str(path), "gate", "depth") == ((1001.0, 2.0),)
    assert read(path, "gate", "p99") == ((1000.0, 1.0),)
