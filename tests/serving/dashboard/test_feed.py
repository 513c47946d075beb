"""What pages follow: one look for all, none for nobody, and no more pages than are allowed."""

from __future__ import annotations

import asyncio
import gc
import json
import math
from typing import Any

import pytest

from grandopt.errors import EngineClosed
from grandopt.serving.dashboard.feed import Feed, event
from grandopt.serving.protocol.errors import Code, ProtocolError


class Looks:
    """Counts looks; from the `ends` one on, what is looked at has ended."""

    def __init__(self, ends: int = 1 << 30) -> None:
        self.count = 0
        self._ends = ends

    async def look(self) -> dict[str, Any]:
        if self.count >= self._ends:
            raise EngineClosed("the engine is shut down")
        self.count += 1
        return {"look": self.count}

    async def past(self) -> dict[str, Any]:
        return {"looks": self.count}


def said(raw: bytes) -> tuple[str, Any]:
    name, data, *rest = raw.decode().split("\n")
    assert rest == ["", ""]
    return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


def test_many_pages_share_one_look_and_nobody_costs_nothing() -> None:
    async def body() -> None:
        looks = Looks()
        feed = Feed(looks.look, looks.past, every_s=0.01, most=8)
        await asyncio.sleep(0.03)
        assert looks.count == 0
        pages = [feed.follow() for _ in range(8)]
        for page in pages:
            assert said(await anext(page))[0] == "past"
        seen = [[said(await anext(page))[1]["look"] for page in pages] for _ in range(5)]
        assert looks.count <= 8
        assert all(later > before for before, later in zip(seen[0], seen[-1], strict=True))
        for page in pages:
            await page.aclose()
        assert feed.pages == 0
        count = looks.count
        await asyncio.sleep(0.05)
        assert looks.count == count

    asyncio.run(body())


def test_a_page_too_many_is_told_so_until_one_has_left() -> None:
    async def body() -> None:
        looks = Looks()
        feed = Feed(looks.look, looks.past, every_s=0.01, most=2)
        one, two = feed.follow(), feed.follow()
        await anext(one)
        with pytest.raises(ProtocolError, match="2 pages follow this server already") as refused:
            feed.follow()
        assert refused.value.code is Code.OVERLOADED
        assert refused.value.retry_after_s is not None
        await one.aclose()
        three = feed.follow()
        await anext(three)
        await three.aclose()
        await two.aclose()

    asyncio.run(body())


def test_one_that_is_dropped_before_it_began_leaves() -> None:
    async def body() -> None:
        looks = Looks()
        feed = Feed(looks.look, looks.past, most=1)
        page = feed.follow()
        assert feed.pages == 1
        del page
        gc.collect()
        assert feed.pages == 0

    asyncio.run(body())


def test_a_slow_page_misses_looks_and_gets_the_newest() -> None:
    async def body() -> None:
        looks = Looks()
        feed = Feed(looks.look, looks.past, every_s=0.005)
        page = feed.follow()
        await anext(page)
        await anext(page)
        while looks.count < 6:
            await asyncio.sleep(0.005)
        assert said(await anext(page))[1]["look"] >= 6
        await page.aclose()

    asyncio.run(body())


def test_the_events_end_with_what_is_looked_at(caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        looks = Looks(ends=2)
        feed = Feed(looks.look, looks.past, every_s=0.001)
        assert len([raw async for raw in feed.follow()]) <= 3
        assert feed.pages == 0

    asyncio.run(body())
    assert "the engine is shut down" in caplog.text


def test_what_json_cannot_say_is_null() -> None:
    told = {"nan": math.nan, "deep": [(math.inf, 1.5)], 3: "µ\n"}
    assert said(event("x", told)) == ("x", {"nan": None, "deep": [[None, 1.5]], "3": "µ\n"})
