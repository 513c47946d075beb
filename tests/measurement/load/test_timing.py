"""The event loop of load: how late its timers come is known, and tasks run in it as in any other."""

from __future__ import annotations

import asyncio
import ctypes

import pytest

from grandopt.measurement.load.timing import COARSE_NS, FINE_NS, PUNCTUAL_NS, FineLoop, late_ns, run


async def lateness() -> int:
    await asyncio.sleep(0.001)
    return late_ns()


def test_timers_are_as_late_as_the_running_loop_makes_them() -> None:
    assert run(lateness()) == PUNCTUAL_NS
    assert asyncio.run(lateness()) == COARSE_NS
    with asyncio.Runner(loop_factory=FineLoop) as runner:
        assert runner.run(lateness()) == FINE_NS  # nobody saw to the thread


def test_the_thread_sleeps_as_before_after_it() -> None:
    async def slack() -> int:
        return int(ctypes.CDLL(None).prctl(30, 0, 0, 0, 0))

    before = asyncio.run(slack())
    assert before > 1
    assert run(slack()) == 1
    assert asyncio.run(slack()) == before


def test_it_ends_like_any_other_loop() -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    async def fails() -> None:
        loops.append(asyncio.get_running_loop())
        asyncio.create_task(asyncio.sleep(60))  # noqa: RUF006 - it is cancelled with the loop
        raise LookupError("nothing is there")

    with pytest.raises(LookupError, match="nothing is there"):
        run(fails())
    assert isinstance(loops[0], FineLoop)
    assert loops[0].is_closed()
