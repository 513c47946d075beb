"""Rounds become figures, and what cannot take part has its reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from grandopt.suites.serving import rounds
from grandopt.suites.serving.contenders import Rival
from grandopt.suites.serving.result import Line
from grandopt.suites.serving.rounds import Standing, contestant, raced, times_as_fast
from grandopt.suites.serving.wire import Loop, Loops, ServedAgent, ServeLoops, Tried

AGENT = ServedAgent(
    "gate", "m:N", Path("w"), Path("s"), Path("a"), Path("o"), (Path("x"),), exact=1e-4, limit=0.02
)


def loop(rate: float, folder: Path, callers: int = 64) -> Loop:
    times = folder / f"{rate:g}-{callers}.npy"
    np.save(times, np.full(1000, 1e9 * callers / rate, np.int64))
    return Loop(callers, int(rate), 1.0, int(rate / callers), (1 / rate,) * 10, times)


class Served:
    """Answers instead of worker processes, and notes the requests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[ServeLoops] = []

    def __call__(self, request: ServeLoops, timeout_s: float = 0, interpreter: object = None) -> Loops:
        self.requests.append(request)
        tried = (Tried("b", 2.0), Tried("a", 1.0)) if request.setting is None else ()
        rate = {"fast": 3000.0, "slow": 1000.0}[request.contender]
        loops = tuple(loop(rate, self.folder, callers) for callers in request.callers)
        return Loops(request.setting or "b", tried, loops, 1e-7, ("a note",))


def test_rounds_are_interleaved_and_keep_the_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served = Served(tmp_path)
    monkeypatch.setattr(rounds, "asked", served)
    rivals = [Rival("fast"), Rival("slow"), Rival("absent", "ray")]
    fast, slow, absent = raced(AGENT, rivals, (64, 8), 0.5, 3, tmp_path, {}, lambda _: None)
    assert [one.contender for one in served.requests] == ["fast", "slow", "slow", "fast", "fast", "slow"]
    assert [one.setting for one in served.requests] == [None, None, "b", "b", "b", "b"]
    found = times_as_fast(fast, slow, 64)
    assert found == pytest.approx((3.0, 3.0, 3.0))
    assert times_as_fast(fast, absent, 64) is None
    assert "ray/bin/pip install" in (absent.reason or "")
    row = contestant(fast, AGENT)
    eight = row.by(8)
    assert eight is not None
    assert (eight.rate, eight.samples, eight.p99_s) == (3000.0, 3000, pytest.approx(8 / 3000, rel=1e-6))
    assert contestant(absent, AGENT).callers == ()


def test_what_has_fewer_rounds_is_measured_in_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = Served(tmp_path)
    monkeypatch.setattr(rounds, "asked", served)
    rivals = [Rival("fast"), Rival("slow", rounds=1)]
    fast, slow = raced(AGENT, rivals, (64,), 0.5, 3, tmp_path, {}, lambda _: None)
    assert [one.contender for one in served.requests] == ["fast", "slow", "fast", "fast"]
    assert [len(contestant(one, AGENT).callers[0].rates) for one in (fast, slow)] == [3, 1]


def test_a_loop_without_tenths_is_compared_as_a_whole(tmp_path: Path) -> None:
    slow = Loop(64, 5, 10.0, 0, (2.0,), tmp_path / "none")
    fast, other = Standing(Rival("fast")), Standing(Rival("slow"))
    fast.answers = [Loops("", (), (loop(100.0, tmp_path),), 0.0, ())]
    other.answers = [Loops("", (), (slow,), 0.0, ())]
    assert times_as_fast(fast, other, 64) == pytest.approx((200.0, 200.0, 200.0))


@pytest.mark.parametrize(
    ("value", "at_least", "met"),
    [(2.0, True, True), (0.5, True, False), (0.5, False, True), (None, True, None)],
)
def test_a_line_is_met_or_missed_or_neither(value: float | None, at_least: bool, met: bool | None) -> None:
    assert Line("g", "t", "times", 1.0, at_least, value).met is met
