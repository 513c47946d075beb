"""A cache folder that something has damaged: misses, counted, and never a wrong value or an exception."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from grandopt.errors import CacheError
from grandopt.runtime.cache.cached import CachedPolicy
from grandopt.runtime.cache.codec import encode
from grandopt.runtime.cache.hierarchy import Hierarchy
from grandopt.runtime.cache.keys import InputKeys
from grandopt.runtime.cache.levels.disk import DiskLevel
from grandopt.runtime.cache.levels.memory import MemoryLevel
from grandopt.runtime.cache.policies.lru import LRU
from grandopt.signature import Signature, TensorSpec
from tests.fakes import FakeExecutor

VALUES = {f"{i:024d}".encode(): bytes([i]) * (100 if i % 4 else 50_000) for i in range(24)}
"""Every fourth lies in a file of its own."""

COLUMNS = ("key", "raw", "store_time", "expire_time", "size", "mode", "filename", "value", "tag")
ODD = (
    "NULL", "-1", "3", "4", "1e400", "'x'", "x'00ff'", "CAST(x'fffe80' AS TEXT)", "'../../victim'",
    "'/dev/zero'", "'fifo'", "9223372036854775807", "zeroblob(100000)",
)  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache") / "whole"
    level = DiskLevel(folder)
    for key, value in VALUES.items():
        level.put(key, value)
    level.close()
    return folder


def damage(draw: random.Random, entries: Path) -> str:
    database = entries / "cache.db"
    kind = draw.choice(("rows", "rows", "settings", "bits", "bits", "header", "cut", "empty", "files"))
    if kind in ("rows", "settings"):
        table, columns = ("Cache", COLUMNS) if kind == "rows" else ("Settings", ("key", "value"))
        change = f"UPDATE {table} SET {draw.choice(columns)} = {draw.choice(ODD)}"
        if draw.random() < 0.5:
            change += f" WHERE rowid = {draw.randrange(1, 25)}"
        with sqlite3.connect(database) as connection:
            try:
                connection.execute(change)
            except sqlite3.Error as error:  # a constraint of the table's
                change = str(error)
        connection.close()
        return change
    content = bytearray(database.read_bytes())
    if kind == "files":
        for path in sorted(entries.glob("*/*/*.val")):
            path.unlink()
            match draw.choice(("cut", "fifo", "folder", "gone")):
                case "cut":
                    path.write_bytes(b"x" * draw.randrange(50_000))
                case "fifo":
                    os.mkfifo(path)
                case "folder":
                    path.mkdir()
        return kind
    if kind == "cut":
        del content[draw.randrange(len(content)) :]
    elif kind == "empty":
        content.clear()
    else:
        end = 100 if kind == "header" else len(content)
        for _ in range(draw.choice((1, 8, 200))):
            content[draw.randrange(end)] ^= 1 << draw.randrange(8)
    database.write_bytes(content)
    return f"{kind}, {len(content)} bytes"


def use(folder: Path) -> None:
    """All that an agent's calls do with the folder: an exception is a fault, and so is a wrong value."""
    try:
        level = DiskLevel(folder)
    except CacheError:
        return
    try:
        for key, value in VALUES.items():
            found = level.get(key)
            assert found is None or found.data == value
            level.holds(key)
        found_many = level.get_many(list(VALUES))
        assert all(
            item is None or item.data == value
            for item, value in zip(found_many, VALUES.values(), strict=True)
        )
        level.put(next(iter(VALUES)), b"new")
        found = level.get(next(iter(VALUES)))
        assert found is None or found.data in (b"new", VALUES[next(iter(VALUES))])
        level.discard(next(iter(VALUES)))
        counts = level.counts()
        assert counts.hits + counts.misses == 2 * len(VALUES) + 1
    finally:
        level.close()


def try_all(numbers: range, whole: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"not the cache's")
    for number in numbers:
        folder = tmp_path / f"{number}"
        shutil.copytree(whole, folder)
        changed = damage(random.Random(number), folder / "entries")
        try:
            use(folder)
        except Exception as error:
            error.add_note(f"mutation {number}: {changed}")
            raise
        shutil.rmtree(folder)
        assert victim.read_bytes() == b"not the cache's", changed


def test_damaged_folders(whole: Path, tmp_path: Path) -> None:
    try_all(range(30), whole, tmp_path)


@pytest.mark.slow
def test_many_damaged_folders(whole: Path, tmp_path: Path) -> None:
    try_all(range(1000, 2000), whole, tmp_path)


ONE = Signature((TensorSpec("state", (3,)),), (TensorSpec("action", (2,)),))
TWO = Signature((TensorSpec("state", (3,)),), (TensorSpec("action", (2,)), TensorSpec("index", (), "int64")))
RIGHT = np.float32([[7, 7]])


@pytest.mark.parametrize(
    "sealed",
    [
        RIGHT.astype(np.float64),
        RIGHT.astype(">f4"),
        RIGHT.astype(np.int32),
        RIGHT[0],
        np.repeat(RIGHT, 2, axis=0),
        RIGHT.reshape(2, 1),
        (RIGHT,),
        (RIGHT, RIGHT),
        [RIGHT],
        {"action": RIGHT},
        RIGHT[0, 0],
        7,
        7.0,
        "7",
        b"7",
        True,
    ],
    ids=lambda value: f"{type(value).__name__}-{getattr(value, 'dtype', '')}{getattr(value, 'shape', '')}",
)
def test_a_sealed_value_that_is_no_answer_of_the_agents(sealed: object, tmp_path: Path) -> None:
    agent = FakeExecutor(ONE, lambda inputs: (np.ascontiguousarray(2 * inputs[0][:, :2]),))
    keys = InputKeys("a")
    given = np.float32([[1, 2, 3]])
    level = DiskLevel(tmp_path / "cache")
    level.put(keys.one(given), encode(sealed))
    with Hierarchy([MemoryLevel(LRU(), 10, 1 << 20), level], must_pay=False) as cache:
        policy = CachedPolicy(agent, keys, cache, must_pay=False)
        np.testing.assert_array_equal(policy(given), [[2, 4]])
        np.testing.assert_array_equal(policy.run((given,))[0], [[2, 4]])
        assert level.counts().damaged == 1


def test_a_sealed_answer_is_handed_out(tmp_path: Path) -> None:
    agent = FakeExecutor(TWO, lambda inputs: (2 * inputs[0][:, :2], np.zeros(len(inputs[0]), np.int64)))
    keys = InputKeys("a")
    level = DiskLevel(tmp_path / "cache")
    single, batch = np.float32([1, 2, 3]), np.float32([[1, 2, 3]])
    level.put(keys.one(single), encode((RIGHT[0], np.int64(1))))
    level.put(keys.one(batch), encode((RIGHT, np.int64([1]))))
    with Hierarchy([MemoryLevel(LRU(), 10, 1 << 20), level], must_pay=False) as cache:
        policy = CachedPolicy(agent, keys, cache, must_pay=False)
        np.testing.assert_array_equal(policy(single)[0], RIGHT[0])
        np.testing.assert_array_equal(policy(batch)[0], RIGHT)
        assert agent.calls == 0
