"""Every request gets one answer, its own, or one error; nothing hangs, and nothing is left."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from typing import Any

import psutil
import pytest

from tests.runtime.engine.storm import SHARES, Storm

MILLION = 1_000_000


def run(kind: str, count: int, seed: int, limit_s: float, pause_s: float = 0.02) -> Storm:
    """The storm, and a look at what is left of it."""
    storm = Storm(kind, count, seed, pause_s)
    said: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
        async with asyncio.timeout(limit_s):
            await storm.run()
        assert len(asyncio.all_tasks()) == 1
        gc.collect()  # what nobody has awaited says so when it goes

    gc.unfreeze()
    before = left()
    asyncio.run(main())
    assert said == []
    assert left() == before
    assert [ref for ref in storm.made if ref() is not None] == []
    return storm


def left() -> tuple[int, list[psutil.Process], int]:
    """Files, children and threads."""
    gc.collect()
    return len(os.listdir("/proc/self/fd")), psutil.Process().children(), threading.active_count()  # noqa: PTH208


def check(storm: Storm) -> None:
    """Each request came to one end, and each kind to those that it can come to."""
    assert sum(storm.outcomes.values()) == storm.count
    ends = {kind: {end for of, end in storm.outcomes if of == kind} for kind in SHARES}
    always = {"Overloaded", "WorkerLost"} if storm.kind == "processes" else {"Overloaded"}
    assert ends["plain"] - always == {"answered"}
    assert ends["nan"] - always == {"answered"}
    assert ends["batch"] - always == {"answered"}
    assert ends["fault"] - always == {"failed"}
    assert ends["faulty batch"] - always == {"failed"}
    assert ends["shape"] == {"refused"}
    assert ends["cancelled"] - always <= {"answered", "cancelled"}
    assert ends["timed out"] - always <= {"answered", "TimeoutError"}
    assert ends["deadline"] - always <= {"answered", "DeadlineExceeded"}
    assert len(storm.weights) > 2
    lost = sum(count for (_, end), count in storm.outcomes.items() if end == "WorkerLost")
    assert lost < storm.count / 20


@pytest.mark.parametrize("kind", ["inline", "threads", "processes"])
def test_some_requests(kind: str) -> None:
    storm = run(kind, 400, 1, 60)
    assert sum(storm.outcomes.values()) == storm.count


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["inline", "threads", "processes"])
def test_many_requests(kind: str) -> None:
    storm = run(kind, 20_000 if kind != "processes" else 60_000, 2, 300, 0.1)
    check(storm)


@pytest.mark.stress
@pytest.mark.parametrize("kind", ["inline", "threads", "processes"])
def test_a_million_requests(kind: str) -> None:
    storm = run(kind, MILLION, 3, 3600, 0.5)
    check(storm)
    print(kind, dict(storm.outcomes), "kills", storm.kills, "replacements", len(storm.weights))
