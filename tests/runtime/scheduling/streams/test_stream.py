"""Streams: order, window, slow consumers, errors, and nothing left behind."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grandopt.errors import ConfigError, DeadlineExceeded, InputError, Overloaded, ServingError
from grandopt.runtime.scheduling.request import Priority
from grandopt.runtime.scheduling.streams.stream import Stream, StreamStats
from tests.runtime.scheduling.adding import settle


class Agent:
    """Answers an item with its tenfold when the test says so, or at once."""

    def __init__(self, at_once: bool = False) -> None:
        self.at_once = at_once
        self.under_way: dict[int, asyncio.Future[int]] = {}
        self.most = 0
        self.calls: list[tuple[int, int, int]] = []
        self.cancelled = 0

    def submit(self, item: int, priority: int, deadline_ns: int) -> asyncio.Future[int]:
        self.calls.append((item, priority, deadline_ns))
        future = asyncio.get_running_loop().create_future()
        if self.at_once:
            future.set_result(item * 10)
            return future
        self.under_way[item] = future
        self.most = max(self.most, len(self.under_way))
        future.add_done_callback(lambda done: self._done(item, done))
        return future

    async def infer(self, item: int, priority: int, deadline_ns: int) -> int:
        return await self.submit(item, priority, deadline_ns)

    @property
    def open(self) -> list[int]:
        """The items whose answers are still to be given."""
        return [item for item, future in self.under_way.items() if not future.done()]

    def answer(self, item: int) -> None:
        self.under_way[item].set_result(item * 10)

    def fail(self, item: int) -> None:
        self.under_way[item].set_exception(ServingError(f"item {item}"))

    def _done(self, item: int, future: asyncio.Future[int]) -> None:
        self.under_way.pop(item, None)
        self.cancelled += future.cancelled()


class Feed:
    """An async source that gives items when the test does, and keeps how far it was read."""

    def __init__(self) -> None:
        self._items: asyncio.Queue[int | Exception | None] = asyncio.Queue()
        self.read = 0
        self.closed = 0

    def put(self, item: int | Exception | None) -> None:
        self._items.put_nowait(item)

    def __aiter__(self) -> Feed:
        return self

    async def __anext__(self) -> int:
        item = await self._items.get()
        if isinstance(item, Exception):
            raise item
        if item is None:
            raise StopAsyncIteration
        self.read += 1
        return item

    async def aclose(self) -> None:
        self.closed += 1


async def alone() -> None:
    """Nothing but the test itself is left in the event loop."""
    await settle()
    assert asyncio.all_tasks() == {asyncio.current_task()}


STEPS = st.lists(st.sampled_from(["feed", "feed", "answer", "fail", "take", "take"]), max_size=60)


@settings(max_examples=50, deadline=None)
@given(
    STEPS,
    st.integers(1, 4),
    st.sampled_from(["block", "drop_oldest", "drop_newest"]),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_whatever_the_pace_the_order_and_the_window_hold(
    steps: list[str], window: int, when_slow: str, as_task: bool, chance: random.Random
) -> None:
    async def body() -> None:
        agent, feed = Agent(), Feed()
        call = agent.infer if as_task else agent.submit
        stream = Stream(call, feed, window=window, when_slow=when_slow, on_error="yield")
        results, got, failed, fed = aiter(stream), [], set(), 0
        pending: asyncio.Task | None = None

        async def take() -> None:
            async for result in results:
                got.append(result)
                return

        def check() -> None:
            assert stream.stats().held <= window
            assert agent.most <= window
            if when_slow == "block":
                assert feed.read <= len(got) + window

        for step in steps:
            if step == "feed":
                feed.put(fed)
                fed += 1
            elif step in ("answer", "fail") and agent.open:
                item = chance.choice(agent.open)
                if step == "fail":
                    failed.add(item)
                    agent.fail(item)
                else:
                    agent.answer(item)
            elif step == "take" and (pending is None or pending.done()):
                pending = asyncio.ensure_future(take())
            for _ in range(chance.randint(0, 6)):
                await asyncio.sleep(0)
            check()
        feed.put(None)
        ended = False
        while not ended:
            await settle()
            for item in agent.open:
                agent.answer(item)
            await settle()
            check()
            if pending is None or pending.done():
                before = len(got)
                pending = asyncio.ensure_future(take())
                await settle()
                ended = pending.done() and len(got) == before
        numbers = [int(str(item).split()[-1]) if isinstance(item, Exception) else item // 10 for item in got]
        assert numbers == sorted(set(numbers))
        assert all(
            isinstance(item, Exception) == (number in failed)
            for item, number in zip(got, numbers, strict=True)
        )
        stats = stream.stats()
        assert (stats.taken, stats.delivered, stats.held) == (fed, len(got), 0)
        assert stats.dropped == fed - len(got)
        if when_slow == "block":
            assert numbers == list(range(fed))
        await alone()
        assert feed.closed == 1

    asyncio.run(body())


@pytest.mark.parametrize("when_slow", ["block", "drop_oldest", "drop_newest"])
@pytest.mark.parametrize("as_task", [True, False])
def test_a_consumer_that_keeps_up_gets_everything(when_slow: str, as_task: bool) -> None:
    """Even where the agent is slow, and where it answers a whole window at once."""

    async def body() -> None:
        agent = Agent()
        call = agent.infer if as_task else agent.submit
        stream = Stream(call, range(100), window=8, when_slow=when_slow)

        async def answer_all() -> None:
            while stream.stats().delivered < 100:
                for item in agent.open:
                    agent.answer(item)
                for _ in range(5):
                    await asyncio.sleep(0)

        answering = asyncio.ensure_future(answer_all())
        assert [result async for result in stream] == [item * 10 for item in range(100)]
        await answering
        assert stream.stats() == StreamStats(taken=100, delivered=100, failed=0, dropped=0, held=0)
        assert agent.most == 8
        await alone()

    asyncio.run(body())


def test_a_slow_consumer_loses_the_oldest_or_the_newest() -> None:
    async def body(when_slow: str) -> tuple[list[int], int, int]:
        agent = Agent(at_once=True)
        stream = Stream(agent.submit, range(50), window=4, when_slow=when_slow)
        got = []
        async for result in stream:
            got.append(result // 10)
            for _ in range(200):
                await asyncio.sleep(0)
        await alone()
        return got, stream.stats().dropped, len(agent.calls)

    oldest, dropped, computed = asyncio.run(body("drop_oldest"))
    assert oldest == [0, 46, 47, 48, 49]
    assert (dropped, computed) == (45, 50)
    newest, dropped, computed = asyncio.run(body("drop_newest"))
    assert newest == [0, 1, 2, 3, 4]
    assert (dropped, computed) == (45, 5)


@pytest.mark.parametrize("how", ["break", "error", "cancel", "aclosing", "timeout"])
@pytest.mark.parametrize("as_task", [True, False])
def test_leaving_early_cancels_what_is_under_way_and_closes_the_source(how: str, as_task: bool) -> None:
    async def body() -> None:
        agent, closed = Agent(), []

        async def source() -> AsyncIterator[int]:
            try:
                for item in range(100):
                    yield item
            finally:
                closed.append(True)

        stream = Stream(agent.infer if as_task else agent.submit, source(), window=8)

        async def consume() -> None:
            async for result in stream:
                assert result == 0
                if how == "break":
                    break
                if how == "error":
                    raise KeyError("consumer")

        async def consume_closing() -> None:
            async with aclosing(stream):
                async for _ in stream:
                    return

        task = asyncio.ensure_future(consume_closing() if how == "aclosing" else consume())
        await settle()
        assert len(agent.under_way) == 8
        agent.answer(0)
        await settle()
        if how == "cancel":
            task.cancel()
        if how == "timeout":
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(task, 0.01)
        outcome = (await asyncio.gather(task, return_exceptions=True))[0]
        if how == "aclosing":
            assert closed  # at the end of the block, not some time later
        expected = {"error": KeyError, "cancel": asyncio.CancelledError, "timeout": asyncio.CancelledError}
        assert isinstance(outcome, expected.get(how, type(None)))
        del outcome, task
        gc.collect()
        await alone()
        assert closed == [True]
        assert (agent.under_way, stream.stats().held) == ({}, 0)
        assert agent.cancelled in (7, 8)

    asyncio.run(body())


def test_a_source_that_raises_ends_the_stream_after_its_earlier_items() -> None:
    async def body() -> None:
        agent, feed = Agent(), Feed()
        for item in range(3):
            feed.put(item)
        feed.put(OSError("feed lost"))
        stream, got = Stream(agent.submit, feed), []

        async def consume() -> None:
            async for result in stream:
                got.append(result)  # noqa: PERF401 - those before an error count

        task = asyncio.ensure_future(consume())
        await settle()
        for item in (2, 0, 1):
            agent.answer(item)
        with pytest.raises(OSError, match="feed lost"):
            await task
        assert got == [0, 10, 20]
        assert feed.closed == 1
        await alone()

    asyncio.run(body())


def test_a_failed_request_ends_the_stream_or_stands_in_its_place() -> None:
    async def body(on_error: str) -> list[object]:
        agent = Agent()
        stream, got = Stream(agent.submit, range(6), window=3, on_error=on_error), []

        async def consume() -> None:
            async for result in stream:
                got.append(result)  # noqa: PERF401 - those before an error count

        task = asyncio.ensure_future(consume())
        while not task.done():
            await settle()
            for item in agent.open:
                agent.fail(item) if item == 2 else agent.answer(item)
        if on_error == "raise":
            with pytest.raises(ServingError, match="item 2"):
                await task
        else:
            await task
        await alone()
        assert stream.stats().failed == 1
        return got

    assert asyncio.run(body("raise")) == [0, 10]
    got = asyncio.run(body("yield"))
    assert isinstance(got.pop(2), ServingError)
    assert got == [0, 10, 30, 40, 50]


def test_a_refused_request_is_an_error_in_its_place() -> None:
    async def body() -> None:
        agent = Agent(at_once=True)

        def submit(item: int, priority: int, deadline_ns: int) -> asyncio.Future[int]:
            if item == 1:
                raise Overloaded("full", 0.5)
            return agent.submit(item, priority, deadline_ns)

        seconds = {2: -1.0, 3: float("nan")}
        stream = Stream(submit, range(5), on_error="yield", deadline_s=lambda item: seconds.get(item))
        kinds = [type(result) async for result in stream]
        assert kinds == [int, Overloaded, DeadlineExceeded, ConfigError, int]
        await alone()

    asyncio.run(body())


def test_a_request_that_somebody_else_cancels_is_an_error_of_its_own() -> None:
    async def body() -> None:
        agent = Agent()
        stream = Stream(agent.submit, [1])
        task = asyncio.ensure_future(anext(aiter(stream)))
        await settle()
        agent.under_way[1].cancel()
        with pytest.raises(ServingError, match="cancelled before its answer"):
            await task
        await alone()

    asyncio.run(body())


def test_priority_and_deadline_go_with_each_request() -> None:
    async def body() -> None:
        agent = Agent(at_once=True)
        settings = {"priority": "high", "deadline_s": 0.5, "clock": lambda: 7}
        assert [result async for result in Stream(agent.submit, [1], **settings)] == [10]
        by_item = {"priority": lambda item: item, "deadline_s": lambda item: item or None, "clock": lambda: 0}
        assert [result async for result in Stream(agent.submit, [0, 3], **by_item)] == [0, 30]
        assert agent.calls == [(1, 2, 500_000_007), (0, 0, 0), (3, 3, 3_000_000_000)]
        assert type(agent.calls[1][1]) is Priority

    asyncio.run(body())


def test_a_source_that_blocks_is_read_on_a_thread() -> None:
    async def body() -> None:
        agent, gate, closed = Agent(at_once=True), threading.Event(), threading.Event()

        def source() -> Iterator[int]:
            try:
                yield 1
                gate.wait(10)
                yield 2
            finally:
                closed.set()

        stream = Stream(agent.submit, source(), in_thread=True)
        results = aiter(stream)
        assert await anext(results) == 10
        second = asyncio.ensure_future(anext(results))
        await asyncio.sleep(0.01)
        assert not second.done()  # and the event loop goes on
        gate.set()
        assert await second == 20
        await results.aclose()
        assert await asyncio.to_thread(closed.wait, 10)

    asyncio.run(body())


def test_leaving_while_a_source_blocks_does_not_wait_for_it() -> None:
    async def body() -> None:
        gate, closed = threading.Event(), threading.Event()

        def source() -> Iterator[int]:
            try:
                gate.wait(10)
                yield 1
            finally:
                closed.set()

        stream = Stream(Agent(at_once=True).submit, source(), in_thread=True)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(aiter(stream)), 0.01)
        await alone()
        assert not closed.is_set()
        gate.set()
        assert await asyncio.to_thread(closed.wait, 10)

    asyncio.run(body())


def test_a_stream_nobody_iterates_reads_nothing() -> None:
    async def body() -> None:
        feed = Feed()
        stream = Stream(Agent().submit, feed)
        await stream.aclose()
        await alone()
        assert (feed.read, feed.closed) == (0, 0)

    asyncio.run(body())


def test_a_stream_is_iterated_once() -> None:
    async def body() -> None:
        stream = Stream(Agent(at_once=True).submit, [1])
        assert [result async for result in stream] == [10]
        with pytest.raises(InputError, match="iterated once"):
            aiter(stream)

    asyncio.run(body())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 0}, "from 1 on, got 0"),
        ({"window": -3}, "from 1 on"),
        ({"window": True}, "from 1 on"),
        ({"window": 2.5}, "from 1 on"),
        ({"when_slow": "drop"}, "'drop' is none of block, drop_oldest, drop_newest"),
        ({"on_error": "ignore"}, "none of raise, yield"),
        ({"priority": "urgent"}, "none of low"),
        ({"deadline_s": "soon"}, "number of seconds"),
        ({"source": 5}, "must be iterable with `for` or `async for`, got int"),
        ({"source": Feed(), "in_thread": True}, "an async one does not"),
    ],
)
def test_what_cannot_be_is_refused_at_once(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Stream(Agent().submit, **{"source": [1], **settings})
