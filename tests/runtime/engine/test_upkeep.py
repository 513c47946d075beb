"""Garbage is collected while nobody asks, and never between two requests that follow one another."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable

from grandopt.runtime.engine.upkeep import Upkeep

EVERY_S, QUIET_S = 0.01, 0.005


def collected(ended: Callable[[], int], idle: Callable[[], bool], until: Callable[[int], bool]) -> int:
    """How many idle moments were used, with garbage to collect, when `until` says so of them."""

    async def serve() -> int:
        upkeep = Upkeep(idle, ended, every_s=EVERY_S, quiet_s=QUIET_S)
        upkeep.begin()
        try:
            kept = []
            over = time.monotonic() + 10
            while not until(upkeep.stats().idle):
                assert time.monotonic() < over
                kept.append([[] for _ in range(2_000)])
                await asyncio.sleep(EVERY_S)
            return upkeep.stats().idle
        finally:
            upkeep.end()

    return asyncio.run(serve())


def test_a_service_that_is_always_asked_is_not_held_up() -> None:
    asked = itertools.count()
    looks = itertools.count()
    # Nothing waits whenever it is looked at, as between any two requests of a service that is quick.
    found = collected(lambda: next(asked), lambda: True, lambda _: next(looks) > 30)
    assert found == 0
    assert next(asked) > 8


def test_a_service_that_nobody_asks_is_collected() -> None:
    assert collected(lambda: 7, lambda: True, lambda idle: idle >= 3) >= 3


def test_what_is_computed_for_long_is_no_idle_moment() -> None:
    looks = itertools.count()
    assert collected(lambda: 7, lambda: False, lambda _: next(looks) > 30) == 0
