"""The event loop of load: how late its timers come is known, and tasks run in it as in any other."""

from __future__ import annotations

import asyncio

import pytest

from grandopt.measurement.load.timing import COARSE_NS, FINE_NS, FineLoop, late_ns, run


async def lateness() -> int:
    await asyncio.sleep(0.001)
    return late_ns()


def test_timers_are_as_late_as_the_running_loop_makes_them() -> None:
    assert run(lateness()) == FINE_NS
    assert asyncio.run(lateness()) == COARSE_NS


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
