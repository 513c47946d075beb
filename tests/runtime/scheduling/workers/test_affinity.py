"""CPUs of workers."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest

from grandopt.errors import ConfigError
from grandopt.runtime.scheduling.workers.affinity import allowed_cpus, pin, places


@pytest.mark.parametrize(
    ("affinity", "workers", "wanted"),
    [
        ("none", 3, (None, None, None)),
        ("pin", 2, (2, 5)),
        ("pin", 5, (2, 5, 7, 2, 5)),
        ([7], 2, (7, 7)),
        ((7, 2), 3, (7, 2, 7)),
    ],
)
def test_places(affinity: Any, workers: int, wanted: tuple[int | None, ...]) -> None:
    assert places(affinity, workers, (2, 5, 7)) == wanted


@pytest.mark.parametrize(
    ("affinity", "words"),
    [
        ([3], "CPU 3, which this process may not use: name some of 2, 5, 7"),
        ([2, -1], "CPU -1"),
        ([True], "CPU True"),
        (["2"], "CPU '2'"),
        ([], r"a list of CPU numbers, got \[\]"),
        ("all", "'none', 'pin' or a list of CPU numbers, got 'all'"),
        (None, "got None"),
        (2, "got 2"),
    ],
)
def test_what_is_no_place(affinity: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        places(affinity, 1, (2, 5, 7))


def test_a_thread_is_pinned_alone() -> None:
    before = allowed_cpus()
    seen: list[set[int]] = []

    def work() -> None:
        pin(None)
        pin(before[-1])
        seen.append(os.sched_getaffinity(0))
        with pytest.raises(ConfigError, match="CPU 4096"):
            pin(4096)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [{before[-1]}]
    assert allowed_cpus() == before
