"""The batcher: each answer is its own, nobody waits for a timer, errors stay where they arise."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
import pytest

from grandopt.errors import AgentFailed, ConfigError, DeadlineExceeded, EngineClosed, Overloaded
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.scheduling.admission import Admission
from grandopt.runtime.scheduling.alone import LEAST
from grandopt.runtime.scheduling.batcher import Batcher
from grandopt.runtime.scheduling.calibration import BatchCost
from grandopt.runtime.scheduling.counts import BatchCounts
from grandopt.runtime.scheduling.request import Priority, Request
from grandopt.runtime.scheduling.stats import BatchSettings
from grandopt.runtime.scheduling.waiting import Waiting
from grandopt.runtime.scheduling.workers.inline import InlineWorker
from grandopt.runtime.scheduling.workers.threads import ThreadWorkers
from grandopt.signature import Array, Signature, TensorSpec

SLOW = BatchCost(per_observation_ns=1e5, fixed_ns=1e6, single_ns=1e6)
"""So that no request is answered at once."""
QUICK = BatchCost(per_observation_ns=100.0, fixed_ns=100.0, single_ns=200.0)
BAD = -1.0


class Doubling(Executor):
    """Gives twice its input and its sum; fails for a batch with a row that is BAD; waits for `gate`."""

    def __init__(self, shape: tuple[int, ...] = (2,)) -> None:
        inputs = (TensorSpec("x", shape),)
        super().__init__(Signature(inputs, (TensorSpec("twice", shape), TensorSpec("sum", ()))))
        self.batches: list[list[float]] = []
        self.entered = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        (x,) = inputs
        rows = x.reshape(len(x), -1)
        self.batches.append([float(row[0]) for row in rows])
        self.entered.release()
        assert self.gate.wait(10)
        if (rows[:, 0] == BAD).any():
            raise ValueError("a bad row")
        return x * 2, rows.sum(axis=1)


def row(value: float) -> tuple[Array]:
    return (np.array([value, 1.0], dtype=np.float32),)


def inline(agent: Executor, cost: BatchCost = SLOW, **settings: object) -> Batcher:
    return Batcher(agent, InlineWorker(agent), BatchSettings(**settings), cost)  # type: ignore[arg-type]


def threads(agent: Executor, size: int = 1, cost: BatchCost = SLOW, **settings: object) -> Batcher:
    return Batcher(agent, ThreadWorkers(agent, size), BatchSettings(**settings), cost)  # type: ignore[arg-type]


def check(value: float, answer: tuple[Array, ...]) -> None:
    assert answer[0].tolist() == [2 * value, 2.0]
    assert float(answer[1]) == value + 1.0


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def computing(agent: Doubling) -> None:
    """Wait until a worker has a batch in its hands."""
    await asyncio.to_thread(agent.entered.acquire)


class OneByOne(Doubling):
    """Computes the rows of a batch one by one in one call, but for a bad one."""

    def __init__(self) -> None:
        super().__init__()
        self.run_each = self.run


@pytest.mark.parametrize("kind", [Doubling, OneByOne])
def test_rows_that_came_together_are_answered_until_it_is_over(kind: type[Doubling]) -> None:
    async def trial() -> None:
        agent = kind()
        batcher = inline(agent, BatchCost(per_observation_ns=1e3, fixed_ns=0.0, single_ns=1e3))
        seen: list[int] = []
        batcher.shown.tap = lambda inputs, outputs: seen.append(len(inputs[0]))
        rows = (np.stack([np.array([value, 1.0], np.float32) for value in range(250)]),)
        asked = iter([False, True])
        found = batcher.rows_at_once(rows, lambda: next(asked))
        assert found is not None
        assert found.refusal is None
        count = len(found.outputs[0])
        assert count == (16 if kind is Doubling else 200)  # two looks at the time: each 8 rows, each 0.1 ms
        for place in range(count):
            check(place, tuple(output[place] for output in found.outputs))
        assert sum(seen) == batcher.stats().answered == batcher.stats().latency.total == count
        assert batcher.stats().released == {"direct": count}
        rows[0][110, 0] = BAD
        found = batcher.rows_at_once(rows, lambda: False)
        assert found is not None
        assert len(found.outputs[0]) == (110 if kind is Doubling else 100)
        # What was computed with the bad one is asked for again, each alone; only that one is refused.
        assert isinstance(found.refusal, AgentFailed) is (kind is Doubling)
        bad = (rows[0][110:],)
        found = batcher.rows_at_once(bad, lambda: False)
        if kind is Doubling:
            assert found is not None
            assert found.outputs == ()
            assert isinstance(found.refusal, AgentFailed)
        else:
            assert found is None
        # Nobody asks for it once more where it was refused, and each time is counted.
        assert batcher.stats().failed == (2 if kind is Doubling else 0)
        await batcher.close()

    asyncio.run(trial())


@pytest.mark.parametrize("make", [inline, threads])
def test_each_caller_gets_its_own_answer(make: Callable[..., Batcher]) -> None:
    async def trial() -> None:
        batcher = make(Doubling(), limit=7)
        answers = await asyncio.gather(*[batcher.infer(row(value)) for value in range(100)])
        for value, answer in enumerate(answers):
            check(value, answer)
        stats = batcher.stats()
        assert stats.answered == stats.latency.total == 100
        assert sum(stats.released.values()) == sum(stats.rows.values()) == stats.batches
        await batcher.close()

    asyncio.run(trial())


def test_callers_that_are_ready_together_travel_together() -> None:
    async def trial() -> None:
        agent = Doubling()
        batcher = inline(agent, limit=64)
        await asyncio.gather(*[batcher.infer(row(value)) for value in range(64)])
        assert [len(batch) for batch in agent.batches] == [64]
        assert batcher.stats().released == {"idle": 1}
        await batcher.close()

    asyncio.run(trial())


def test_what_waits_while_a_worker_is_busy_becomes_its_next_batch() -> None:
    async def trial() -> None:
        agent = Doubling()
        batcher = threads(agent)
        agent.gate.clear()
        first = asyncio.ensure_future(batcher.infer(row(0)))
        await computing(agent)
        rest = [asyncio.ensure_future(batcher.infer(row(value))) for value in range(1, 10)]
        await settle()
        assert agent.batches == [[0.0]]
        agent.gate.set()
        await asyncio.gather(first, *rest)
        assert [len(batch) for batch in agent.batches] == [1, 9]
        await batcher.close()

    asyncio.run(trial())


def test_a_small_agent_answers_at_once_but_no_caller_keeps_the_others_out() -> None:
    async def trial() -> None:
        batcher = inline(Doubling(), cost=QUICK)
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        beside = asyncio.ensure_future(other())
        for value in range(1_000):
            check(value, await batcher.infer(row(value)))
        assert batcher.stats().released["direct"] > 500
        assert turns >= 1_000 / (4_000 / QUICK.single_ns + 1) - 1
        beside.cancel()
        await batcher.close()

    asyncio.run(trial())


def test_callers_of_a_small_agent_take_turns_without_a_batch() -> None:
    async def trial() -> None:
        agent = Doubling()
        batcher = inline(agent, cost=QUICK)
        order: list[int] = []

        async def caller(number: int) -> None:
            for value in range(200):
                check(value, await batcher.infer(row(value)))
                order.append(number)

        await asyncio.gather(*[caller(number) for number in range(8)])
        stats = batcher.stats()
        assert all(len(batch) == 1 for batch in agent.batches)
        assert stats.answered == stats.latency.total == stats.released["direct"] == stats.rows[1] == 1_600
        assert 0 < stats.busy_ns < stats.latency.sum_ns, "the wait for the others is a part of the latency"
        seen = [order[:end].count(number) for end in range(80, 1_600, 80) for number in range(8)]
        apart = [max(seen[at : at + 8]) - min(seen[at : at + 8]) for at in range(0, len(seen), 8)]
        assert max(apart) <= 4_000 / QUICK.single_ns + LEAST, "the first has a budget, then each its share"
        await batcher.close()

    asyncio.run(trial())


def test_a_caller_that_waits_for_its_turn_can_be_cancelled_refused_and_sent_to_a_batch() -> None:
    async def trial() -> None:
        async def spendthrift() -> object:
            while batcher.at_once(row(1.0)) is not None:
                pass
            return await batcher.infer(row(3.0))

        async def waiting() -> asyncio.Future[object]:
            asked = asyncio.ensure_future(spendthrift())
            await asyncio.sleep(0)
            return asked

        agent = Doubling()
        batcher = inline(agent, cost=QUICK)
        asked = await waiting()
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        check(2.0, await batcher.infer(row(2.0)))
        asked = await waiting()
        batcher.cost = SLOW  # as another agent would have
        check(3.0, await asked)
        assert batcher.stats().released["idle"] == 1
        batcher.cost = QUICK
        asked = await waiting()
        await batcher.close(drain=False)
        with pytest.raises(EngineClosed):
            await asked
        batcher = inline(agent, cost=QUICK)
        asked = await waiting()
        await batcher.close()
        assert asked.done()
        check(3.0, await asked)

    asyncio.run(trial())


def test_who_waits_for_a_batch_already_is_not_overtaken_by_whole_turns() -> None:
    async def trial() -> None:
        batcher = inline(Doubling(), cost=QUICK)
        while batcher.at_once(row(1.0)) is not None:
            pass
        first = batcher.submit(row(2.0))
        assert await batcher.next_turn(row(3.0)) is None
        assert not first.done(), "and it did not wait to say so"
        check(3.0, await batcher.infer(row(3.0)))
        check(2.0, await first)
        await batcher.close()

    asyncio.run(trial())


def test_idle_workers_share_what_waits() -> None:
    async def trial() -> None:
        agent = Doubling()
        batcher = threads(agent, 2)
        await asyncio.gather(*[batcher.infer(row(value)) for value in range(40)])
        assert sorted(len(batch) for batch in agent.batches) == [20, 20]
        await batcher.close()

    asyncio.run(trial())


@pytest.mark.parametrize("make", [inline, threads])
def test_an_error_of_one_request_is_not_its_neighbours(make: Callable[..., Batcher]) -> None:
    async def trial() -> None:
        batcher = make(Doubling())
        values = [0.0, BAD, 2.0, float("nan"), 4.0]
        answers = await asyncio.gather(*[batcher.infer(row(v)) for v in values], return_exceptions=True)
        assert isinstance(answers[1], AgentFailed)
        assert isinstance(answers[1].__cause__, ValueError)
        for at in (0, 2, 4):
            answer = answers[at]
            assert not isinstance(answer, BaseException)
            check(values[at], answer)
        stats = batcher.stats()
        assert (stats.answered, stats.failed) == (4, 1)
        assert stats.released["retry"] == 5
        await batcher.close()

    asyncio.run(trial())


def test_what_is_no_row_fails_alone() -> None:
    async def trial() -> None:
        batcher = inline(Doubling())
        wrong = (np.zeros(3, dtype=np.float32),)
        answers = await asyncio.gather(
            batcher.infer(row(1)), batcher.infer(wrong), batcher.infer(row(2)), return_exceptions=True
        )
        assert isinstance(answers[1], AgentFailed)
        check(1, answers[0])  # type: ignore[arg-type]
        check(2, answers[2])  # type: ignore[arg-type]
        await batcher.close()

    asyncio.run(trial())


@pytest.mark.parametrize("priority", [Priority.NORMAL, Priority.HIGH])
def test_a_cancelled_caller_is_dropped(priority: Priority) -> None:
    async def trial() -> None:
        agent = Doubling()
        batcher = threads(agent)
        agent.gate.clear()
        first = asyncio.ensure_future(batcher.infer(row(0)))
        await computing(agent)
        rest = [asyncio.ensure_future(batcher.infer(row(value), priority)) for value in range(1, 5)]
        await settle()
        rest[1].cancel()
        agent.gate.set()
        await asyncio.wait([first, *rest])
        assert agent.batches[1] == [1.0, 3.0, 4.0]
        assert rest[1].cancelled()
        check(4, rest[3].result())
        assert batcher.stats().cancelled == 1
        await batcher.close()

    asyncio.run(trial())


def test_a_full_queue_refuses_and_lets_a_higher_class_in() -> None:
    async def trial() -> None:
        agent = Doubling()
        batcher = threads(agent, queue_rows=4)
        agent.gate.clear()
        running = asyncio.ensure_future(batcher.infer(row(9)))
        await computing(agent)
        waiting = [batcher.submit(row(value)) for value in range(4)]
        with pytest.raises(Overloaded, match=r"4 rows .* wait already, at most 4 rows may") as refused:
            batcher.submit(row(5))
        assert refused.value.retry_after_s > 0
        critical = batcher.submit(row(6), Priority.CRITICAL)
        with pytest.raises(Overloaded):
            await waiting[3]
        agent.gate.set()
        await asyncio.gather(running, *waiting[:3], critical)
        assert agent.batches[1] == [6.0, 0.0, 1.0, 2.0]
        assert batcher.stats().rejected == {"rows": 1, "displaced": 1}
        await batcher.close()

    asyncio.run(trial())


def test_callers_that_are_gone_make_room() -> None:
    async def trial() -> None:
        agent = Doubling()
        batcher = threads(agent, queue_rows=3)
        agent.gate.clear()
        running = batcher.submit(row(9))
        await computing(agent)
        waiting = [batcher.submit(row(value)) for value in range(3)]
        waiting[1].cancel()
        last = batcher.submit(row(7))
        agent.gate.set()
        await asyncio.gather(running, waiting[0], waiting[2], last)
        assert agent.batches[1] == [0.0, 2.0, 7.0]
        await batcher.close()

    asyncio.run(trial())


def test_deadlines_are_refused_at_once_missed_in_time_or_kept() -> None:
    async def trial() -> None:
        agent, now = Doubling(), [1_000]
        batcher = Batcher(
            agent, ThreadWorkers(agent, 1), BatchSettings(), BatchCost(1e6, 1e6, 2e6), clock=lambda: now[0]
        )
        with pytest.raises(DeadlineExceeded, match=r"passed 0\.0005 ms before"):
            await batcher.infer(row(0), deadline_ns=500)
        with pytest.raises(
            DeadlineExceeded, match=r"the deadline is in 1\.5 ms, an answer would take about 2 ms"
        ):
            await batcher.infer(row(0), deadline_ns=1_000 + 1_500_000)
        agent.gate.clear()
        running = batcher.submit(row(1))
        await computing(agent)
        with pytest.raises(DeadlineExceeded) as late:
            # Two milliseconds until the worker is free, and two of its own.
            batcher.submit(row(2), deadline_ns=now[0] + 3_000_000)
        assert late.value.retry_after_s == pytest.approx(0.001, rel=0.1)
        kept = batcher.submit(row(3), deadline_ns=now[0] + 40_000_000)
        missed = batcher.submit(row(4), deadline_ns=now[0] + 5_000_000)  # comes before the one just let in
        with pytest.raises(
            DeadlineExceeded, match=r"in 8 ms, .* 6 ms with 1 rows before it, and 50 % of its time"
        ):
            batcher.submit(row(5), deadline_ns=now[0] + 8_000_000)
        now[0] += 10_000_000
        agent.gate.set()
        check(1, await running)
        check(3, await kept)
        with pytest.raises(DeadlineExceeded, match="while the request waited"):
            await missed
        stats = batcher.stats()
        assert (stats.rejected, stats.missed) == ({"deadline": 4}, 1)
        await batcher.close()

    asyncio.run(trial())


def test_who_is_pushed_back_beyond_the_deadline_is_told_at_the_next_batch() -> None:
    async def trial() -> None:
        agent, now = Doubling(), [1_000]
        settings, cost = BatchSettings(limit=1), BatchCost(1e6, 0.0, 1e6)
        batcher = Batcher(agent, ThreadWorkers(agent, 1), settings, cost, clock=lambda: now[0])
        agent.gate.clear()
        running = batcher.submit(row(0))
        await computing(agent)
        waiting = [batcher.submit(row(value), deadline_ns=now[0] + 10_000_000) for value in range(1, 4)]
        critical = [batcher.submit(row(value), Priority.CRITICAL) for value in range(4, 12)]
        agent.gate.set()
        with pytest.raises(DeadlineExceeded, match="before its turn would come") as told:
            await waiting[2]
        assert now == [1_000]  # its deadline is ten milliseconds away
        assert told.value.retry_after_s > 0
        await asyncio.gather(running, *waiting[:2], *critical)
        assert agent.batches == [[float(value)] for value in (0, *range(4, 12), 1, 2)]
        assert (batcher.stats().missed, batcher.stats().rejected) == (1, {})
        await batcher.close()

    asyncio.run(trial())


@pytest.mark.parametrize(
    ("missed", "answered", "spare"), [(0, 0, 50), (3, 0, 56), (99, 0, 60), (0, 2500, 40)]
)
def test_more_time_must_be_left_over_where_deadlines_were_missed(
    missed: int, answered: int, spare: int
) -> None:
    async def trial() -> None:
        agent, waiting = Doubling(), Waiting()
        workers = InlineWorker(agent)
        admission = Admission(waiting, 8, BatchCounts())
        for _ in range(answered):
            admission.ended(0, 1)
        admission.missed(missed)
        waiting.queue.push(Request(asyncio.Future(), row(0), 0, Priority.NORMAL, 1, 0))
        with pytest.raises(DeadlineExceeded, match=rf"with 1 rows before it, and {spare} % of its time"):
            admission.refuse_late(1, 1, 2_000_000, 0, BatchSettings(), BatchCost(1e6, 0, 1e6), workers)

    asyncio.run(trial())


def test_a_batch_is_no_larger_than_its_first_deadline_allows() -> None:
    async def trial() -> None:
        agent = Doubling()
        batcher = Batcher(
            agent, InlineWorker(agent), BatchSettings(), BatchCost(1e6, 0.0, 1e6), clock=lambda: 1_000
        )
        urgent = batcher.submit(row(0), deadline_ns=1_000 + 3_500_000)
        others = [batcher.submit(row(value)) for value in range(1, 9)]
        await asyncio.gather(urgent, *others)
        assert [len(batch) for batch in agent.batches] == [3, 6]
        assert batcher.stats().released == {"deadline": 1, "idle": 1}
        await batcher.close()

    asyncio.run(trial())


def test_rows_together_stay_together_beside_single_ones() -> None:
    async def trial() -> None:
        batcher = threads(Doubling(), limit=8)
        batch = np.arange(10, dtype=np.float32).reshape(5, 2)
        jobs: list[Awaitable[tuple[Array, ...]]] = [batcher.infer(row(v)) for v in range(4)]
        outputs, *singles = await asyncio.gather(batcher.infer_rows((batch,)), *jobs)
        assert (outputs[0] == batch * 2).all()
        assert (outputs[1] == batch.sum(axis=1)).all()
        for value, answer in enumerate(singles):
            check(value, answer)
        await batcher.close()

    asyncio.run(trial())


def test_a_replacement_answers_from_then_on_and_ends_the_old_one_first() -> None:
    class Tripling(Doubling):
        def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
            return inputs[0] * 3, inputs[0].sum(axis=1)

    async def trial() -> None:
        old, new = Doubling(), Tripling()
        batcher = threads(old)
        old.gate.clear()
        before = batcher.submit(row(1))
        await computing(old)
        replacing = asyncio.ensure_future(batcher.replace(new, QUICK))
        await settle()
        after = batcher.submit(row(1))
        assert not replacing.done()
        old.gate.set()
        await replacing
        assert (await before)[0].tolist() == [2.0, 2.0]
        assert (await after)[0].tolist() == [3.0, 3.0]
        await batcher.close()

    asyncio.run(trial())


def test_a_tap_sees_batches_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async def trial() -> None:
        seen: list[tuple[int, int]] = []
        batcher = inline(Doubling(), limit=4)
        batcher.shown.tap = lambda inputs, outputs: seen.append((len(inputs[0]), len(outputs[0])))
        batcher.shown.every = 2
        await asyncio.gather(*[batcher.infer(row(value)) for value in range(16)])
        assert seen == [(4, 4), (4, 4)]

        def raising(inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
            raise RuntimeError("not your business")

        batcher.shown.tap, batcher.shown.every = raising, 1
        check(3, await batcher.infer(row(3)))
        check(4, await batcher.infer(row(4)))
        assert batcher.shown.tap is None
        await batcher.close()

    asyncio.run(trial())
    assert "a tap raised" in caplog.text


@pytest.mark.parametrize("drain", [True, False])
def test_closing_answers_what_waits_or_tells_it(drain: bool) -> None:
    async def trial() -> None:
        agent = Doubling()
        batcher = threads(agent)
        agent.gate.clear()
        running = batcher.submit(row(0))
        await computing(agent)
        waiting = batcher.submit(row(1))
        closing = asyncio.ensure_future(batcher.close(drain=drain))
        await settle()
        with pytest.raises(EngineClosed):
            batcher.submit(row(2))
        agent.gate.set()
        await closing
        check(0, await running)
        if drain:
            check(1, await waiting)
        else:
            with pytest.raises(EngineClosed):
                await waiting
        with pytest.raises(EngineClosed):
            await batcher.infer(row(3))
        await batcher.close()

    asyncio.run(trial())


@pytest.mark.parametrize(
    "settings", [{"limit": 0}, {"limit": True}, {"queue_rows": -1}, {"queue_bytes": 1.5}, {"ageing_s": 0}]
)
def test_settings_that_cannot_be_are_named(settings: dict[str, object]) -> None:
    (name,) = settings
    with pytest.raises(ConfigError, match=f"{name} must be .*, got"):
        BatchSettings(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("workers", ["inline", "threads"])
@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_each_request_gets_one_answer_or_one_error(workers: str, seed: int) -> None:
    draw = random.Random(seed)

    async def trial() -> None:
        agent = Doubling()
        batcher = (
            inline(agent, QUICK, limit=5, queue_rows=30)
            if workers == "inline"
            else threads(agent, 2, QUICK, limit=5, queue_rows=30)
        )
        outcomes = {"answered": 0, "failed": 0, "refused": 0, "cancelled": 0}

        async def caller(number: int) -> None:
            for step in range(20):
                value = BAD if draw.random() < 0.05 else float(100 * number + step)
                priority = draw.choice(list(Priority))
                within = draw.choice([0, 0, 10**6, 10**9])
                deadline = within and batcher._clock() + within
                try:
                    async with asyncio.timeout(draw.choice([None, None, 0.0, 0.0005])):
                        answer = await batcher.infer(row(value), priority, deadline)
                    check(value, answer)
                    outcomes["answered"] += 1
                except AgentFailed:
                    assert value == BAD
                    outcomes["failed"] += 1
                except (Overloaded, DeadlineExceeded):
                    outcomes["refused"] += 1
                except TimeoutError:
                    outcomes["cancelled"] += 1

        await asyncio.gather(*[caller(number) for number in range(60)])
        assert sum(outcomes.values()) == 60 * 20
        assert outcomes["answered"] > 0
        await batcher.close()
        stats = batcher.stats()
        assert stats.depth == 0
        assert stats.answered >= outcomes["answered"]
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(trial())
