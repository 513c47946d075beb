"""The highest rate that is sustained is found, and said with its criterion."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from grandopt.errors import MeasurementError
from grandopt.measurement.load import saturation as module
from grandopt.measurement.load.concurrent import ConcurrentLoad
from grandopt.measurement.load.saturation import CRITERION, Saturation, curve, saturation, throughput
from grandopt.measurement.load.settings import LoadSettings
from tests.measurement.load.virtual import OBSERVATIONS, Server, loop, virtually

SETTINGS = LoadSettings(seconds=0.4, warmup_s=0.05, grace_s=0.2)


def load(target: Any, settings: LoadSettings = SETTINGS) -> ConcurrentLoad:
    return ConcurrentLoad(target, OBSERVATIONS, settings, clock=loop().clock)


@pytest.mark.parametrize("law", ["poisson", "constant"])
def test_the_rate_of_a_server_is_found(law: Any) -> None:
    async def whole() -> Saturation:
        return await saturation(load(Server(0.0005).infer), callers=8, law=law)

    found = virtually(whole(), 1e-4)
    assert found.closed == pytest.approx(2000, rel=0.01)
    assert 1880 < found.rate < 2120
    assert found.rate < found.above <= 1.03 * found.rate
    assert max(rate for rate, held in found.tried if held) == found.rate
    assert min(rate for rate, held in found.tried if not held) == found.above
    assert found.criterion == CRITERION


def test_a_wrong_first_guess_does_not_matter() -> None:
    """One caller gets a twentieth of what the target can do."""

    async def whole() -> Saturation:
        gate = asyncio.Semaphore(20)

        async def target(observation: Any, priority: int, deadline_ns: int) -> None:
            async with gate:
                await asyncio.sleep(0.01)

        return await saturation(load(target), callers=1)

    found = virtually(whole(), 1e-4)
    assert found.closed == pytest.approx(100, rel=0.05)
    assert found.rate == pytest.approx(2000, rel=0.1)


@pytest.mark.parametrize("guess", [600.0, 2000.0, 9000.0])
def test_throughput_is_what_is_answered_where_more_is_asked_for(guess: float) -> None:
    async def whole() -> float:
        return await throughput(load(Server(0.0005).infer), guess)

    assert virtually(whole(), 1e-4) == pytest.approx(2000, rel=0.02)


def test_what_is_never_too_much_has_no_throughput() -> None:
    async def whole() -> None:
        async def target(observation: Any, priority: int, deadline_ns: int) -> None:
            await asyncio.sleep(0.001)  # as many at once as there may be

        with pytest.raises(MeasurementError, match="that is no saturation"):
            await throughput(load(target), 100.0)

        async def failing(observation: Any, priority: int, deadline_ns: int) -> None:
            raise ValueError("no agent")

        with pytest.raises(MeasurementError, match=r"none was answered \(ValueError: no agent\)"):
            await throughput(load(failing), 100.0)

    virtually(whole(), 1e-4)


class Wavering:
    """A target of which a known part of the runs is sustained."""

    def __init__(self, held: list[bool]) -> None:
        self.held = iter(held)

    async def closed(self, callers: int) -> Any:
        return SimpleNamespace(achieved=1000.0)

    async def at(self, rate: float, law: str) -> Any:
        return SimpleNamespace(sustained=next(self.held))


def test_neither_the_best_run_of_a_rate_counts_nor_the_worst() -> None:
    # 1000: two of three; 1250: one of three, after which one fails each time.
    held = [True, False, True, *[False, True, False], *[False, False] * 20]
    found = asyncio.run(saturation(Wavering(held)))  # type: ignore[arg-type]
    assert found.tried[:2] == ((1000.0, True), (1250.0, False))
    assert found.rate == 1000.0


def test_a_target_without_answers_has_no_saturation() -> None:
    async def target(observation: Any, priority: int, deadline_ns: int) -> None:
        raise ValueError("no agent")

    async def whole() -> None:
        settings = LoadSettings(seconds=0.001, warmup_s=0)
        with pytest.raises(MeasurementError, match=r"no request was answered .*\(ValueError: no agent\)"):
            await saturation(load(target, settings), callers=2)

    virtually(whole())


def test_a_search_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_STEPS", 3)

    async def target(observation: Any, priority: int, deadline_ns: int) -> None:
        await asyncio.sleep(0.001)  # as many at once as there may be

    async def whole() -> None:
        settings = LoadSettings(seconds=0.1, warmup_s=0)
        with pytest.raises(MeasurementError, match="no saturation was found in 3 runs"):
            await saturation(load(target, settings), callers=1)

    virtually(whole(), 1e-4)


def test_a_curve_has_a_run_at_each_fraction() -> None:
    async def whole() -> tuple[Any, ...]:
        return await curve(load(Server(0.0005).infer), 2000.0, (0.1, 0.5, 1.5))

    low, middle, over = virtually(whole(), 1e-4)
    assert [run.rate for run in (low, middle, over)] == [200.0, 1000.0, 3000.0]
    assert low.sustained
    assert middle.sustained
    assert not over.sustained
    assert over.kept_up
    assert over.achieved == pytest.approx(2000, rel=0.02)
    assert low.percentile_us(50.0) < middle.percentile_us(50.0) * 1.2 < over.percentile_us(50.0)
