"""An open loop: requests are made when they are due, and each is accounted for once."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from grandopt.errors import DeadlineExceeded, MeasurementError, Overloaded, ServingError, WorkerLost
from grandopt.measurement.load.base import Load
from grandopt.measurement.load.concurrent import BURST, ConcurrentLoad
from grandopt.measurement.load.result import LoadResult, Outcome
from grandopt.measurement.load.settings import LoadSettings
from tests.measurement.load.virtual import OBSERVATIONS, Server, loop, virtually

SHORT = LoadSettings(seconds=0.1, warmup_s=0.02, grace_s=0.05)


def load(target: Any, settings: LoadSettings = SHORT) -> ConcurrentLoad:
    return ConcurrentLoad(target, OBSERVATIONS, settings, clock=loop().clock)


async def run(target: Any, rate: float, settings: LoadSettings = SHORT, law: Any = "constant") -> LoadResult:
    return await load(target, settings).at(rate, law)


@pytest.mark.parametrize("rate", [700.0, 10_000.0])
def test_requests_are_made_when_they_are_due(rate: float) -> None:
    found = virtually(run(Server(1e-6).infer, rate))
    assert found.count() == found.count(Outcome.ANSWERED) == pytest.approx(rate * 0.1, abs=1)
    assert found.lateness_ns().min() >= 0
    assert found.lateness_ns().max() < 20_000
    assert found.kept_up
    assert found.sustained
    assert found.offered == pytest.approx(rate, rel=0.02)
    assert found.achieved == pytest.approx(rate, rel=0.02)


def test_every_observation_gets_its_turn() -> None:
    seen: Counter[int] = Counter()

    async def target(observation: Any, priority: int, deadline_ns: int) -> None:
        seen[int(observation[0])] += 1

    virtually(run(target, 10_000.0))
    assert len(seen) == 256
    assert max(seen.values()) - min(seen.values()) <= 1


def test_a_stalled_target_shows_in_all_requests_that_were_due_meanwhile() -> None:
    """Were latency counted from when a request is sent, only the first would show it."""

    async def target(observation: Any, priority: int, deadline_ns: int) -> None:
        since = loop().now - began
        if 0.05 <= since < 0.051:
            loop().work(0.1 - since)  # nothing goes on until 0.1 s, the generator neither

    async def whole() -> LoadResult:
        nonlocal began
        began = loop().now
        return await run(target, 5000.0)

    began = 0.0
    found = virtually(whole())
    stalled = (found.due_ns >= 51_000_000) & (found.due_ns < 99_000_000)
    assert stalled.sum() == pytest.approx(240, abs=3)
    waited = found.ended_ns[stalled] - found.due_ns[stalled]
    assert (waited >= 100_000_000 - found.due_ns[stalled]).all()
    assert (found.ended_ns - found.due_ns)[found.due_ns < 50_000_000].max() < 1_000_000
    assert found.lateness_ns().max() > 40_000_000  # and whose delay it was is told


BEHAVIOURS = ("at once", "later", "overloaded", "deadline", "fails", "lost worker", "never", "cancels")
EXPECTED = {
    "at once": Outcome.ANSWERED,
    "later": Outcome.ANSWERED,
    "overloaded": Outcome.OVERLOADED,
    "deadline": Outcome.DEADLINE,
    "fails": Outcome.FAILED,
    "lost worker": Outcome.FAILED,
    "never": Outcome.LOST,
    "cancels": Outcome.FAILED,
}
ERRORS: dict[str, Exception] = {
    "overloaded": Overloaded("full", 0.001),
    "deadline": DeadlineExceeded("too late"),
    "fails": ValueError("a fault of the agent"),
    "lost worker": WorkerLost("its process ended"),
}


class Scripted:
    """Each request has a behaviour of its own, in the order in which they come."""

    def __init__(self, behaviours: list[str]) -> None:
        self.behaviours = iter(behaviours)
        self.made: list[asyncio.Future[Any]] = []

    async def infer(self, observation: Any, priority: int, deadline_ns: int) -> None:
        await self.submit(observation, priority, deadline_ns)

    def submit(self, observation: Any, priority: int, deadline_ns: int) -> asyncio.Future[Any]:
        future = loop().create_future()
        self.made.append(future)
        match next(self.behaviours):
            case "at once":
                future.set_result(observation)
            case "later":
                loop().call_later(0.001, future.set_result, observation)
            case "never":
                pass
            case "cancels":
                loop().call_later(0.001, future.cancel)
            case name:
                future.set_exception(ERRORS[name])
        return future

    def refuse(self, observation: Any, priority: int, deadline_ns: int) -> asyncio.Future[Any]:
        """Like `submit`, but errors of serving are raised at once."""
        future = self.submit(observation, priority, deadline_ns)
        if future.done() and isinstance(error := future.exception(), ServingError):
            raise error
        return future


@limits(max_examples=40)
@given(
    behaviours=st.lists(st.sampled_from(BEHAVIOURS), min_size=1, max_size=60),
    way=st.sampled_from(["infer", "submit", "refuse"]),
    gap_us=st.sampled_from([0, 1, 50, 3000]),
)
def test_every_request_is_accounted_for_once(behaviours: list[str], way: str, gap_us: int) -> None:
    async def whole() -> tuple[LoadResult, Scripted]:
        target = Scripted(behaviours)
        settings = LoadSettings(seconds=1, warmup_s=0, grace_s=0.05)
        due = np.arange(len(behaviours)) * gap_us * 1000
        return await load(getattr(target, way), settings).replay(due), target

    found, target = virtually(whole())
    assert [Outcome(value) for value in found.outcomes] == [EXPECTED[name] for name in behaviours]
    assert sum(found.count(outcome) for outcome in Outcome) == found.count() == len(behaviours)
    assert (found.started_ns >= found.due_ns).all()
    ended = found.outcomes != Outcome.LOST
    assert (found.ended_ns[ended] >= found.started_ns[ended]).all()
    assert (found.ended_ns[~ended] == -1).all()
    assert all(future.done() for future in target.made)
    assert sum(found.errors.values()) == found.count(Outcome.FAILED)
    assert (found.first_error is None) == (found.count(Outcome.FAILED) == 0)


def test_what_is_due_at_once_is_made_in_bursts() -> None:
    rounds: Counter[int] = Counter()

    async def whole() -> None:
        def submit(observation: Any, priority: int, deadline_ns: int) -> asyncio.Future[Any]:
            rounds[loop().clock()] += 1
            future = loop().create_future()
            future.set_result(None)
            return future

        due = np.zeros(3 * BURST, np.int64)
        await load(submit, LoadSettings(warmup_s=0)).replay(due)

    virtually(whole())
    assert list(rounds.values()) == [BURST] * 3


@pytest.mark.parametrize("way", ["infer", "submit"])
@pytest.mark.parametrize("after", [0.0, 0.03])
def test_a_cancelled_run_leaves_nothing_behind(way: str, after: float) -> None:
    async def whole() -> None:
        target = Scripted(["never"] * 10_000)
        task = asyncio.create_task(run(getattr(target, way), 20_000.0))
        await asyncio.sleep(after)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert target.made or not after
        assert all(future.cancelled() for future in target.made)

    virtually(whole())


def test_a_fault_of_a_submitting_function_ends_the_run() -> None:
    async def whole() -> None:
        calls = 0
        made = []

        def submit(observation: Any, priority: int, deadline_ns: int) -> asyncio.Future[Any]:
            nonlocal calls
            calls += 1
            if calls == 10:
                raise TypeError("one argument too many")
            made.append(loop().create_future())
            return made[-1]

        with pytest.raises(TypeError, match="one argument too many"):
            await run(submit, 20_000.0)
        assert len(made) == 9
        assert all(future.cancelled() for future in made)

    virtually(whole())


def test_a_target_that_cannot_be_stopped_is_named() -> None:
    async def stubborn(observation: Any, priority: int, deadline_ns: int) -> None:
        until = loop().now + 20.0
        while loop().now < until:
            try:
                await asyncio.sleep(1.0)
            except asyncio.CancelledError:
                continue

    async def whole() -> None:
        settings = LoadSettings(seconds=0.01, warmup_s=0, grace_s=0.01)
        with pytest.raises(MeasurementError, match="went on for 5 s after they were cancelled"):
            await run(stubborn, 1000.0, settings)
        await asyncio.sleep(30)

    virtually(whole())


def test_a_generator_that_cannot_keep_up_says_so() -> None:
    async def hog(observation: Any, priority: int, deadline_ns: int) -> None:
        loop().work(0.001)

    found = virtually(run(hog, 5000.0))
    assert not found.kept_up
    assert not found.sustained
    assert found.achieved == pytest.approx(1000, rel=0.1)


def test_deadlines_and_priorities_are_told() -> None:
    told: list[tuple[int, int]] = []

    async def target(observation: Any, priority: int, deadline_ns: int) -> None:
        told.append((priority, deadline_ns))

    shares = {0: 1.0, 3: 3.0}
    settings = LoadSettings(seconds=0.1, warmup_s=0, priorities=shares, deadline_s=0.002, tell_deadline=True)
    found = virtually(run(target, 20_000.0, settings))
    assert [priority for priority, _ in told] == found.priorities.tolist()
    assert found.count(priority=3) / found.count() == pytest.approx(0.75, abs=0.05)
    moments = np.array([deadline for _, deadline in told]) - found.due_ns
    assert (moments == moments[0]).all()  # all the same time after they were due
    told.clear()
    virtually(run(target, 1000.0, LoadSettings(seconds=0.1, deadline_s=0.002)))
    assert {deadline for _, deadline in told} == {0}


def test_the_warm_up_enters_no_figure() -> None:
    server = Server(0.0)

    async def target(observation: Any, priority: int, deadline_ns: int) -> None:
        nonlocal began
        began = began or loop().now
        await asyncio.sleep(0.005 if loop().now - began < 0.019 else 0)

    began = 0.0
    found = virtually(run(target, 5000.0))
    assert len(found.due_ns) == 600
    assert found.count() == 500
    assert found.latency_ns().max() < 1_000_000
    assert (found.ended_ns - found.due_ns).max() >= 5_000_000
    assert server.most == 0


def test_the_same_seed_makes_the_same_requests() -> None:
    async def twice(seed: int) -> list[LoadResult]:
        settings = LoadSettings(seconds=0.02, warmup_s=0, seed=seed, priorities={1: 1, 2: 1})
        runs: Load = load(Server(0).infer, settings)
        return [await runs.at(5000.0), await runs.at(5000.0)]

    first, second = virtually(twice(1)), virtually(twice(1))
    other = virtually(twice(2))
    for one, two in zip(first, second, strict=True):
        assert np.array_equal(one.due_ns, two.due_ns)
        assert np.array_equal(one.priorities, two.priorities)
    assert not np.array_equal(first[0].due_ns, first[1].due_ns)
    assert not np.array_equal(first[0].due_ns, other[0].due_ns)


def test_too_few_observations_are_refused() -> None:
    with pytest.raises(MeasurementError, match="at least 256 different observations, got 255"):
        ConcurrentLoad(Server(0).infer, OBSERVATIONS[:255])


def test_arrivals_within_the_warm_up_are_refused() -> None:
    async def whole() -> None:
        with pytest.raises(MeasurementError, match=r"within the warm-up of 0\.02 s"):
            await load(Server(0).infer).replay(np.array([0, 1000]))

    virtually(whole())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"seconds": 0}, "seconds must be at least a nanosecond but got 0"),
        ({"seconds": float("nan")}, "seconds must be at least a nanosecond"),
        ({"grace_s": -1}, "grace_s must be at least a nanosecond but got -1"),
        ({"warmup_s": -1}, "warmup_s must be a number of at least 0 but got -1"),
        ({"seconds": 1e-10}, "seconds must be at least a nanosecond but got 1e-10"),
        ({"deadline_s": 1e-10}, "deadline_s must be at least a nanosecond but got 1e-10"),
        ({"deadline_s": 0}, "deadline_s must be at least a nanosecond but got 0"),
        ({"tell_deadline": True}, "tell_deadline needs a deadline_s"),
        ({"priorities": {}}, "shares of priorities must be positive"),
        ({"priorities": {1: -1.0, 2: 2.0}}, "shares of priorities must be positive"),
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(MeasurementError, match=words):
        LoadSettings(**wrong)
