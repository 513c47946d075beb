"""The disk level among damage, other processes and full disks."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diskcache
import numpy as np
import pytest

from grandopt.errors import CacheError, ConfigError
from grandopt.runtime.cache.codec import decode, encode
from grandopt.runtime.cache.envelope import seal, unseal
from grandopt.runtime.cache.keys import InputKeys
from grandopt.runtime.cache.levels.base import Item
from grandopt.runtime.cache.levels.disk import ENTRIES, BytesDisk, DiskLevel
from grandopt.runtime.cache.levels.folder import MARKER

KEYS = [InputKeys("one").key([np.float32([number])]) for number in range(200)]
LARGE = encode(np.zeros(100_000, np.float32))
PATIENCE_S = 30.0


def value_of(number: int) -> bytes:
    return encode(np.full(100, number, np.float32))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def disk(folder: Path) -> Iterator[DiskLevel]:
    level = DiskLevel(folder, 1 << 26)
    yield level
    level.close()


def change(folder: Path, statement: str, *values: Any) -> None:
    """Change the database behind the level's back."""
    with sqlite3.connect(folder / ENTRIES / "cache.db") as database:
        database.execute(statement, values)
    database.close()


def test_a_damaged_row_is_a_miss_and_removed(disk: DiskLevel, folder: Path) -> None:
    for number, key in enumerate(KEYS[:3]):
        disk.put(key, value_of(number))
    sealed = seal(KEYS[0], value_of(0))
    damaged = sealed[:-1] + bytes([sealed[-1] ^ 1])
    change(folder, "UPDATE Cache SET value = ? WHERE key = ?", damaged, KEYS[0])
    # Sound in itself, but another key's: a foreign value.
    change(folder, "UPDATE Cache SET value = ? WHERE key = ?", seal(KEYS[2], value_of(2)), KEYS[1])
    assert disk.get(KEYS[0]) is None
    assert disk.get(KEYS[1]) is None
    assert disk.get(KEYS[2]) == Item(KEYS[2], value_of(2), None)
    assert not disk.holds(KEYS[0])
    assert (disk.counts().damaged, disk.counts().entries) == (2, 1)


def test_a_damaged_or_missing_file_is_a_miss_and_removed(disk: DiskLevel, folder: Path) -> None:
    for key in KEYS[:2]:
        disk.put(key, LARGE)
    files = sorted(folder.rglob("*.val"))
    assert len(files) == 2
    files[0].write_bytes(files[0].read_bytes()[:-10])
    files[1].unlink()
    assert [disk.get(key) for key in KEYS[:2]] == [None, None]
    assert disk.check() == [] or not any(disk.holds(key) for key in KEYS[:2])


class Poison:
    """What a pickle must not be able to do."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("poisoned",))


def test_pickles_are_refused_in_both_directions(
    disk: DiskLevel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    disk.put(KEYS[0], value_of(0))
    change(
        folder,
        "UPDATE Cache SET value = ?, mode = ? WHERE key = ?",
        pickle.dumps(Poison()),
        diskcache.core.MODE_PICKLE,
        KEYS[0],
    )
    assert disk.get(KEYS[0]) is None
    change(
        folder,
        "INSERT INTO Cache (key, raw, store_time, mode, value) VALUES (?, 0, 0, 1, '')",
        pickle.dumps(Poison()),
    )
    assert any("could not be finished" in finding for finding in disk.check())
    assert not (tmp_path / "poisoned").exists()
    writer = BytesDisk(str(folder))
    for value in ({"a": 1}, "text", 1, None):
        with pytest.raises(CacheError, match="are bytes"):
            writer.store(value, False)
        with pytest.raises(CacheError, match="are bytes"):
            writer.put(value)


def test_check_removes_damage_and_orphans(disk: DiskLevel, folder: Path) -> None:
    disk.put(KEYS[0], value_of(0))
    disk.put(KEYS[1], LARGE)
    assert disk.check() == []
    change(folder, "UPDATE Cache SET value = ? WHERE key = ?", b"garbage", KEYS[0])
    orphan = folder / ENTRIES / "ab" / "cd" / "ef.val"
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"left behind")
    findings = disk.check()
    assert len([finding for finding in findings if "damaged entry" in finding]) == 1
    assert not orphan.exists()
    assert disk.check() == []
    assert disk.get(KEYS[1]) == Item(KEYS[1], LARGE, None)


def test_the_limit_in_bytes_is_held(folder: Path) -> None:
    disk = DiskLevel(folder, 2_000_000)
    for key in KEYS[:60]:
        disk.put(key, LARGE)
    size = disk.counts().bytes
    assert size is not None
    assert size < 2_000_000 + 2 * len(LARGE)
    assert disk.get(KEYS[59]) is not None
    assert disk.get(KEYS[0]) is None
    disk.close()


def test_a_full_database_loses_the_value_and_nothing_else(disk: DiskLevel) -> None:
    disk.put(KEYS[0], value_of(0))
    # SQLite's own limit gives the same error as a full disk.
    pages = disk._cache._sql("PRAGMA page_count").fetchone()[0]
    disk._cache._sql(f"PRAGMA max_page_count = {pages}")
    for number, key in enumerate(KEYS[1:], start=1):
        disk.put(key, value_of(number))
    failed = disk.counts().failures
    assert failed > 0
    disk.put_many([Item(key, value_of(0), None) for key in KEYS[100:]])
    assert disk.counts().failures > failed
    assert disk.get(KEYS[0]) == Item(KEYS[0], value_of(0), None)
    disk._cache._sql("PRAGMA max_page_count = 1000000")
    disk.put(KEYS[199], value_of(199))
    assert disk.get(KEYS[199]) == Item(KEYS[199], value_of(199), None)


def test_a_disk_that_is_full_in_a_batch_takes_no_other_writer_along(
    disk: DiskLevel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite ends a transaction by itself then, and another thread begins one before this one has noticed."""
    pages = disk._cache._sql("PRAGMA page_count").fetchone()[0]
    disk._cache._sql(f"PRAGMA max_page_count = {pages}")  # of this thread's connection
    store = disk._cache.set
    others: list[threading.Thread] = []

    def full(*args: Any, **kwargs: Any) -> Any:
        try:
            return store(*args, **kwargs)
        except sqlite3.Error:
            others.append(threading.Thread(target=disk.put, args=(KEYS[199], value_of(199))))
            others[-1].start()
            others[-1].join(0.1)
            raise

    monkeypatch.setattr(disk._cache, "set", full)
    disk.put_many([Item(key, value_of(number), None) for number, key in enumerate(KEYS[:150])])
    for other in others:
        other.join(PATIENCE_S)
    assert len(others) == 1
    assert disk.counts().failures == 1
    assert disk.get(KEYS[0]) is None
    assert disk.get(KEYS[199]) == Item(KEYS[199], value_of(199), None)


def test_a_locked_database_is_a_miss_for_writes_and_not_for_reads(disk: DiskLevel, folder: Path) -> None:
    disk.put(KEYS[0], value_of(0))
    other = sqlite3.connect(folder / ENTRIES / "cache.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    disk.put(KEYS[1], value_of(1))
    assert disk.get(KEYS[0]) == Item(KEYS[0], value_of(0), None)
    other.execute("ROLLBACK")
    other.close()
    assert disk.counts().failures == 1
    assert disk.get(KEYS[1]) is None


def test_a_folder_that_is_no_cache_of_this_version_is_refused(folder: Path, tmp_path: Path) -> None:
    DiskLevel(folder, 1 << 20).close()
    (folder / MARKER).write_text("2\n")
    with pytest.raises(CacheError, match="format '2', this grandopt knows 1"):
        DiskLevel(folder, 1 << 20)
    (folder / MARKER).write_text("1\n")
    DiskLevel(folder, 1 << 20).close()
    strange = tmp_path / "strange"
    strange.mkdir()
    (strange / "thesis.txt").write_text("precious")
    with pytest.raises(CacheError, match=r"'thesis\.txt' and is no cache"):
        DiskLevel(strange, 1 << 20)
    assert [entry.name for entry in strange.iterdir()] == ["thesis.txt"]
    with pytest.raises(CacheError, match="cannot be used as a cache"):
        DiskLevel(strange / "thesis.txt" / "cache", 1 << 20)
    with pytest.raises(ConfigError, match="needs room"):
        DiskLevel(folder, 0)


def test_a_ruined_database_is_one_error(folder: Path) -> None:
    DiskLevel(folder, 1 << 20).close()
    (folder / ENTRIES / "cache.db").write_bytes(b"no database at all, but long enough to be looked at" * 100)
    with pytest.raises(CacheError, match="cannot be opened"):
        DiskLevel(folder, 1 << 20)


def write_forever(folder: Path, first: int) -> None:
    disk = DiskLevel(folder, 1 << 26)
    number = first
    while True:
        disk.put(KEYS[number % len(KEYS)], value_of(number % len(KEYS)))
        if number % 50 == 0:
            disk.put_many([Item(key, value_of(n), None) for n, key in enumerate(KEYS)])
            disk.put(b"L" * 24, LARGE)
        number += 7


def test_processes_share_a_folder_and_one_that_is_killed_leaves_it_sound(folder: Path) -> None:
    context = multiprocessing.get_context("spawn")
    disk = DiskLevel(folder, 1 << 26)
    writers = [context.Process(target=write_forever, args=(folder, first)) for first in (0, 1)]
    for writer in writers:
        writer.start()
    seen = 0
    deadline = time.monotonic() + PATIENCE_S
    killed = False
    while seen < 2000 and time.monotonic() < deadline:
        for number, key in enumerate(KEYS):
            found = disk.get(key)
            if found is not None:
                seen += 1
                assert found.data == value_of(number)
        if not killed and seen > 500:
            pid = writers[0].pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            killed = True
    for writer in writers:
        writer.kill()
        writer.join(PATIENCE_S)
    assert killed
    assert seen >= 2000
    disk.check()
    assert disk.check() == []
    assert disk.counts().damaged == 0
    disk.put(KEYS[0], value_of(0))
    found = disk.get(KEYS[0])
    assert found is not None
    assert decode(found.data)[0] == 0
    disk.close()


def test_a_seal_holds_for_its_key_and_every_byte() -> None:
    data = value_of(3)
    sealed = seal(KEYS[3], data, 5.0)
    assert unseal(KEYS[3], sealed) == (data, 5.0)
    assert unseal(KEYS[4], sealed) is None
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 0x10
        assert unseal(KEYS[3], bytes(changed)) is None
        assert unseal(KEYS[3], sealed[:place]) is None
