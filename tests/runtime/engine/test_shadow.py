"""A candidate beside the agent that answers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue

import numpy as np
import pytest

from grandopt.errors import ConfigError, SignatureError
from grandopt.runtime.engine.comparing import LOOK_NS, Comparing, Findings, Work
from grandopt.runtime.engine.disagreement import Disagreement
from grandopt.runtime.engine.engine import Engine
from grandopt.runtime.engine.shadow import Shadow
from grandopt.runtime.engine.shadow_report import ShadowReport
from grandopt.signature import Array, Contract, Signature, StateTensor, TensorSpec
from tests.fakes import FakeExecutor

SIGNATURE = Signature((TensorSpec("x", (2,)),), (TensorSpec("y", (2,), role="scores"),))


def scores(inputs: Sequence[Array]) -> tuple[Array, ...]:
    """The first score is the higher one for an even number of the observation."""
    odd = inputs[0][:, 0] % 2
    return (np.stack([1 - odd, odd], axis=1),)


def altered(inputs: Sequence[Array]) -> tuple[Array, ...]:
    """The same with another decision on one observation in a hundred."""
    (right,) = scores(inputs)
    other = inputs[0][:, 0] % 100 == 37
    return (np.where(other[:, None], right[:, ::-1], right),)


def agent(function: Callable[[Sequence[Array]], tuple[Array, ...]]) -> FakeExecutor:
    return FakeExecutor(SIGNATURE, function)


async def asked(engine: Engine, numbers: range) -> None:
    """Ask with each number; the answers are the live agent's."""
    for start in range(numbers.start, numbers.stop, 64):
        some = range(start, min(start + 64, numbers.stop))
        answers = await asyncio.gather(*[engine.infer("gate", np.float32([n, 0])) for n in some])
        assert [int(answer.argmax()) for answer in answers] == [n % 2 for n in some]


async def until(shadow: Shadow, enough: Callable[[ShadowReport], bool]) -> ShadowReport:
    while not enough(shadow.report()):
        await asyncio.sleep(0.005)
    return shadow.report()


def run(body: Callable[[Engine], object], **changes: object) -> None:
    async def main() -> None:
        engine = Engine()
        await engine.initialize("standard", memory=False, **changes)
        async with engine:
            engine.add("gate", agent(scores))
            await body(engine)  # type: ignore[misc]

    asyncio.run(asyncio.wait_for(main(), 60))


@pytest.mark.parametrize("seed", range(3))
def test_the_interval_of_a_shadow_holds_the_share_of_altered_decisions(seed: int) -> None:
    async def body(engine: Engine) -> None:
        shadow = engine.shadow("gate", agent(altered), share=0.5, effort=1.0, seed=seed)
        asking = 0
        while shadow.report().compared < 3000:
            await asked(engine, range(asking, asking + 1000))
            asking += 1000
        report = shadow.withdraw()
        assert report.seen == asking
        assert report.compared + report.dropped <= 0.6 * asking
        low, high = report.interval
        assert low <= 0.01 <= high < 0.02
        assert report.rate == report.disagreed / report.compared
        assert report.relative_l2["y"] > 0
        assert report.failed == report.replaced == 0
        assert report.times.live.total == report.times.candidate.total > 0
        assert report.times.candidate_row_ns is not None

    run(body)


def test_a_candidate_that_raises_is_counted_and_nobody_notices() -> None:
    def broken(inputs: Sequence[Array]) -> tuple[Array, ...]:
        raise RuntimeError("no weights")

    async def body(engine: Engine) -> None:
        shadow = engine.shadow("gate", agent(broken), share=1.0, effort=1.0)
        await asked(engine, range(500))
        report = await until(shadow, lambda report: report.failed > 0)
        assert report.compared == 0
        assert (report.rate, report.interval) == (None, (0.0, 1.0))
        assert report.error is not None
        assert "no weights" in report.error
        assert engine.stats().agents["gate"].batches.failed == 0  # type: ignore[union-attr]

    run(body)


def test_answers_of_another_shape_are_failures() -> None:
    async def body(engine: Engine) -> None:
        shadow = engine.shadow("gate", agent(lambda inputs: (inputs[0][:, :1],)), share=1.0, effort=1.0)
        await asked(engine, range(100))
        assert (await until(shadow, lambda report: report.failed > 0)).compared == 0

    run(body)


def test_a_candidate_that_hangs_costs_nothing_and_what_comes_meanwhile_is_dropped() -> None:
    let_go = threading.Event()

    def hanging(inputs: Sequence[Array]) -> tuple[Array, ...]:
        let_go.wait()
        return scores(inputs)

    async def body(engine: Engine) -> None:
        shadow = engine.shadow("gate", agent(hanging), share=1.0, effort=1.0)
        await asked(engine, range(2000))
        report = shadow.report()
        assert report.compared == 0
        assert report.dropped > 0
        shadow.withdraw()  # does not wait for it
        let_go.set()

    run(body)


def test_the_candidate_rests_for_as_long_as_its_share_of_the_time_wants() -> None:
    now, rests = [0], SimpleQueue[float]()

    def working(inputs: Sequence[Array]) -> tuple[Array, ...]:
        now[0] += 4_000_000  # 4 ms for each batch
        return scores(inputs)

    comparing = Comparing("gate", agent(working), 0.02, spent=lambda: now[0], rest=rests.put)
    findings = Findings(Disagreement(SIGNATURE, Contract()))
    inputs = (np.zeros((3, 2), np.float32),)
    comparing.give(Work(inputs, scores(inputs), agent(scores), findings))
    assert rests.get(timeout=30) == pytest.approx((0.004 + 3 * LOOK_NS / 1e9) * 49)
    comparing.end()
    assert (findings.compared, findings.disagreed) == (3, 0)
    assert comparing.rows == 1  # more would take longer than anybody should wait


def test_the_candidate_takes_over_when_it_is_promoted() -> None:
    async def body(engine: Engine) -> None:
        shadow = engine.shadow("gate", agent(altered), share=1.0, effort=1.0)
        await asked(engine, range(100))
        report = await shadow.promote()
        assert not report.active
        assert (await engine.infer("gate", np.float32([37, 0]))).argmax() == 0
        with pytest.raises(ConfigError, match="withdrawn"):
            await shadow.promote()

    run(body)


def test_counts_begin_anew_when_another_version_answers() -> None:
    async def body(engine: Engine) -> None:
        shadow = engine.shadow("gate", agent(altered), share=1.0, effort=1.0)
        await asked(engine, range(300))
        before = await until(shadow, lambda report: report.compared > 0)
        await engine.replace("gate", agent(scores))
        requests = 0
        while not (after := shadow.report()).replaced:  # a shadow that is behind looks again later
            await asked(engine, range(100))
            requests += 100
            await asyncio.sleep(0)
        assert (before.replaced, after.replaced) == (0, 1)
        assert after.seen <= requests
        assert after.against != before.against

    run(body)


def test_the_end_of_the_engine_ends_the_shadow() -> None:
    shadows = []

    async def body(engine: Engine) -> None:
        shadows.append(engine.shadow("gate", agent(altered), share=1.0))
        await asked(engine, range(10))

    run(body)
    assert not shadows[0].active
    shadows[0].withdraw()
    deadline = time.monotonic() + 10
    while any("shadow" in thread.name for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_two_shadows_and_the_agent_without_one() -> None:
    async def body(engine: Engine) -> None:
        first = engine.shadow("gate", agent(altered), share=1.0, effort=1.0)
        second = engine.shadow("gate", agent(scores), share=1.0, effort=1.0)
        asking = 0
        while second.report().compared < 100:
            await asked(engine, range(500))
            asking += 500
        assert second.withdraw().disagreed == 0
        await asked(engine, range(500))
        assert first.withdraw().seen == asking + 500
        assert second.report().seen == asking

    run(body)


def test_what_cannot_be_shadowed_is_refused_with_the_reason() -> None:
    recurrent = Signature(
        (TensorSpec("x", (2,)), TensorSpec("h", (1,))), (TensorSpec("y", (2,)), TensorSpec("h1", (1,)))
    )

    async def body(engine: Engine) -> None:
        with pytest.raises(SignatureError, match="serves the input"):
            engine.shadow(
                "gate", FakeExecutor(Signature((TensorSpec("z", (3,)),), SIGNATURE.outputs), scores)
            )
        for options in ({"share": 0.0}, {"share": 1.5}, {"effort": 0}, {"tolerance": -1}):
            with pytest.raises(ConfigError, match=next(iter(options))):
                engine.shadow("gate", agent(scores), **options)
        state = Contract(state=(StateTensor("h", "h1"),))

        def keeping() -> FakeExecutor:
            return FakeExecutor(recurrent, lambda inputs: (inputs[0], inputs[1]), state)

        engine.add("memory", keeping())
        with pytest.raises(SignatureError, match="keeps a state"):
            engine.shadow("memory", keeping())
        engine.add("plain", agent(scores), batching=False)
        with pytest.raises(ConfigError, match="batching=True"):
            engine.shadow("plain", agent(scores))
        await asked(engine, range(10))

    run(body)
