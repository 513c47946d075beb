"""`grandopt cache` and `grandopt benchmark --suite cache`."""

from __future__ import annotations

import gzip
import json
import sqlite3
from pathlib import Path

from grandopt.runtime.cache.codec import encode
from grandopt.runtime.cache.levels.disk import ENTRIES, DiskLevel
from tests.cli.conftest import Grandopt, assert_one_error_line


def filled(folder: Path) -> Path:
    disk = DiskLevel(folder, 1 << 24)
    for number in range(3):
        disk.put(bytes([number]) * 24, encode(number))
    disk.close()
    return folder


def test_a_folder_is_looked_at_checked_and_cleared(grandopt: Grandopt, tmp_path: Path) -> None:
    folder = filled(tmp_path / "cache")
    shown = json.loads(grandopt("cache", "stats", folder, "--json").stdout)
    assert shown["entries"] == 3
    assert shown["bytes"] > 0
    sound = grandopt("cache", "check", folder)
    assert (sound.returncode, sound.stdout) == (0, "3 sound entries\n")

    with sqlite3.connect(folder / ENTRIES / "cache.db") as database:
        database.execute("UPDATE Cache SET value = ? WHERE key = ?", (b"garbage", b"\1" * 24))
    database.close()
    damaged = grandopt("cache", "check", folder)
    assert damaged.returncode == 1
    assert damaged.stdout.splitlines() == [f"damaged entry {'01' * 24}: removed", "2 sound entries"]
    assert grandopt("cache", "check", folder).returncode == 0

    assert grandopt("cache", "clear", folder).stdout == "removed 2 entries\n"
    assert json.loads(grandopt("cache", "stats", folder, "--json").stdout)["entries"] == 0


def test_other_folders_are_left_as_they_are(grandopt: Grandopt, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    for folder in ("absent", "work"):
        result = grandopt("cache", "clear", tmp_path / folder)
        assert result.returncode == 2
        assert_one_error_line(result)
        assert "there is no cache in this folder" in result.stderr
    assert not (tmp_path / "absent").exists()
    assert list((tmp_path / "work").iterdir()) == []


def test_the_limit_of_a_folder_outlives_a_look_at_it(tmp_path: Path) -> None:
    folder = filled(tmp_path / "cache")
    DiskLevel(folder).close()
    with sqlite3.connect(folder / ENTRIES / "cache.db") as database:
        limit = database.execute("SELECT value FROM Settings WHERE key = 'size_limit'").fetchone()
    database.close()
    assert limit == (1 << 24,)


def test_policies_and_look_ups_are_shown_side_by_side(grandopt: Grandopt, tmp_path: Path) -> None:
    trace = tmp_path / "small.trace.gz"
    trace.write_bytes(gzip.compress(b"1\n2\n1\n3\n1\n2\n"))
    suite = ("benchmark", "--suite", "cache", "--budget", "0.1")
    shown = json.loads(grandopt(*suite, f"{trace}@2", trace, "--json").stdout)
    rows = shown["policies"]
    assert [(row["entries"], row["requests"]) for row in rows] == [(2, 6), (500, 6), (1000, 6)]
    assert rows[0]["hits"]["lru"] == 2
    assert rows[1]["hits"] == {"lru": 3, "lfu": 3, "adaptive": 3}
    lookups = {row["cache"]: row for row in shown["lookups"]}
    assert lookups["grandopt memory, lru"]["seconds"] > 0
    assert lookups["diskcache"]["seconds"] > 0
    for name in ("cachetools, lru", "cachebox, lru", "theine", "redis-py GET"):
        row = lookups[name]
        assert row["seconds"] or row["note"] in ("not installed", "redis-server not found")
    assert shown["compression"] >= 6
    table = grandopt(*suite, f"{trace}@2").stdout
    assert "small.trace.gz" in table
    assert "33.33" in table
    assert "a hit, with its key" in table
    assert max(map(len, table.splitlines())) <= 80


def test_bad_traces_are_one_error(grandopt: Grandopt, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no trace\n")
    for arguments, message in (
        (["absent"], "cannot be read as a trace"),
        (["text"], "neither text nor integers"),
        (["text@none"], "no number of entries"),
        (["text@0"], "no number of entries"),
    ):
        result = grandopt("benchmark", "--suite", "cache", *arguments)
        assert result.returncode == 2
        assert_one_error_line(result)
        assert message in result.stderr
