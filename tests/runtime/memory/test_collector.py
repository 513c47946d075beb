"""The collector: on faked collectors of every flavour, and on the one of this Python."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import pytest

from grandopt.errors import ConfigError
from grandopt.runtime.memory.collector import OLDER_EVERY, Collector
from grandopt.runtime.memory.gc_kind import GcKind, current_gc_kind, gc_kind
from grandopt.runtime.memory.idle_gc import idle_gc
from grandopt.runtime.memory.tuning import PROCESS, GcTuning
from tests.runtime.cache.clock import Clock
from tests.runtime.memory.garbage import FakeGc


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ((3, 11, 7, "final", 0), "generational"),
        ((3, 13, 0, "final", 0), "generational"),
        ((3, 13, 0, "candidate", 2), "unknown"),
        ((3, 14, 0, "final", 0), "incremental"),
        ((3, 14, 4, "final", 0), "incremental"),
        ((3, 14, 5, "final", 0), "generational"),
        ((3, 15, 0, "alpha", 3), "unknown"),
        ((3, 15, 0, "final", 0), "generational"),
        ((3, 16, 0, "final", 0), "unknown"),
    ],
)
def test_the_flavour_of_a_version(version: tuple[int | str, ...], expected: GcKind) -> None:
    assert gc_kind("cpython", version, free_threaded=False) == expected
    assert gc_kind("pypy", version, free_threaded=False) == "unknown"
    threaded = "unknown" if expected == "unknown" else "free-threaded"
    assert gc_kind("cpython", version, free_threaded=True) == threaded


@pytest.fixture
def fake() -> FakeGc:
    return FakeGc(Clock())


def collector(fake: FakeGc, kind: GcKind = "generational", tuning: GcTuning | None = None) -> Collector:
    return Collector(clock=fake.clock, tuning=tuning or GcTuning(fake, kind))


@pytest.mark.parametrize("kind", ["generational", "incremental", "free-threaded", "unknown"])
@pytest.mark.parametrize("fails", [False, True])
def test_everything_is_restored(fake: FakeGc, kind: GcKind, fails: bool) -> None:
    fake.thresholds, fake.enabled = (2000, 7, 3), not fails
    try:
        with collector(fake, kind) as tuned:
            stats = tuned.stats()
            assert (stats.gc_kind, stats.tuned, stats.frozen) == (kind, True, 1000)
            assert fake.collected == [2]  # before the freeze
            wanted = (2000, 7, 3) if kind == "unknown" else (50_000, 7, 3)
            assert stats.thresholds == wanted
            assert len(fake.callbacks) == 1
            fake.enable()
            fake.set_threshold(1)
            if fails:
                raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert (fake.thresholds, fake.enabled, fake.callbacks) == ((2000, 7, 3), not fails, [])
    assert (fake.frozen, fake.objects) == (0, 1000)


def test_an_interrupted_start_restores(fake: FakeGc, monkeypatch: pytest.MonkeyPatch) -> None:
    tuning = GcTuning(fake, "generational")

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fake, "freeze", interrupted)
    with pytest.raises(KeyboardInterrupt):
        collector(fake, tuning=tuning).__enter__()
    monkeypatch.undo()
    assert fake.thresholds == (700, 10, 10)
    assert fake.callbacks == []
    with collector(fake, tuning=tuning) as tuned:
        assert tuned.stats().tuned


def test_an_inner_block_joins_and_the_last_one_restores(fake: FakeGc) -> None:
    tuning = GcTuning(fake, "generational")
    outer, inner = collector(fake, tuning=tuning), Collector(young=5, clock=fake.clock, tuning=tuning)
    outer.__enter__()
    with inner:
        assert (outer.stats().tuned, inner.stats().tuned) == (True, False)
        assert fake.thresholds[0] == 50_000
        fake.new = 1000
        assert inner.idle() == 0
        assert [pause.collected for pause in outer.stats().pauses] == [1000]
        outer.__exit__(None, None, None)  # out of order, as between threads
        assert (fake.thresholds[0], fake.frozen) == (50_000, 1000)
    assert (fake.thresholds[0], fake.frozen, fake.callbacks) == (700, 0, [])
    with outer:
        assert outer.stats().tuned


def test_idle_moments_are_used_when_they_are_needed(fake: FakeGc) -> None:
    with collector(fake) as tuned:
        fake.new = 699
        assert tuned.idle() is None
        fake.new = 700
        assert tuned.idle() == 0
        stats = tuned.stats()
        assert (stats.idle, stats.unneeded, stats.postponed) == (1, 1, 0)
        assert [(pause.generation, pause.idle, pause.collected) for pause in stats.pauses] == [(0, True, 700)]
        assert stats.pauses[0].longest == pytest.approx(0.001)
        fake.collect(1)  # by Python itself, amid the work
        assert [(pause.generation, pause.idle) for pause in tuned.stats().pauses] == [(0, True), (1, False)]


@pytest.mark.parametrize("kind", ["generational", "incremental"])
def test_older_generations_have_their_turn(fake: FakeGc, kind: GcKind) -> None:
    with collector(fake, kind) as tuned:
        fake.collected.clear()
        for _ in range((OLDER_EVERY + 1) * OLDER_EVERY + 2):
            fake.new = 1000
            tuned.idle()
    assert fake.collected == [*([0] * 10 + [1]) * 10, 2, 0]


@pytest.mark.parametrize("kind", ["free-threaded", "unknown"])
def test_without_generations_every_collection_is_full(fake: FakeGc, kind: GcKind) -> None:
    with collector(fake, kind) as tuned:
        fake.new = 1000
        assert tuned.idle(0.0) == 2  # nothing is known yet
        fake.new = 1000
        assert tuned.idle(0.09) is None
        assert tuned.idle(0.11) == 2
        assert tuned.stats().postponed == 1


def test_a_short_moment_gets_a_younger_generation_or_none(fake: FakeGc) -> None:
    with collector(fake) as tuned:
        for _ in range(OLDER_EVERY):
            fake.new = 1000
            assert tuned.idle(0.5) == 0
        fake.new = 1000
        assert tuned.idle(0.5) == 1
        for _ in range(OLDER_EVERY):
            fake.new = 1000
            tuned.idle(0.5)
        fake.new = 1000
        assert tuned.idle(0.009) == 0  # the middle one is due and takes 0.01
        fake.new = 1000
        assert tuned.idle(0.0005) is None
        assert tuned.stats().postponed == 2
        assert tuned.idle() == 1  # still due


def test_freezing_what_was_loaded_later(fake: FakeGc) -> None:
    with collector(fake) as tuned:
        fake.objects = 300
        assert tuned.freeze() == 1300
        assert fake.collected == [2, 2]
        assert [(pause.generation, pause.idle) for pause in tuned.stats().pauses] == [(2, True)]
    assert fake.objects == 1300


def test_bad_input_is_one_error(fake: FakeGc) -> None:
    for options in ({"young": -1}, {"due": -1}):
        with pytest.raises(ConfigError, match="cannot be negative"):
            Collector(**options)
    tuned = collector(fake)
    with pytest.raises(ConfigError, match="not in use"):
        tuned.idle()
    with pytest.raises(ConfigError, match="not in use"):
        tuned.freeze()
    with tuned, pytest.raises(ConfigError, match="make another one"):
        tuned.__enter__()
    with pytest.raises(ConfigError, match="must be positive"):
        idle_gc(tuned, lambda: 0.0, interval=0.0)


def test_the_idler_asks_and_collects(fake: FakeGc) -> None:
    answers: Iterator[float] = iter([0.0, 0.5, 0.0, 0.5])
    asked = []
    done = threading.Event()

    def idle_seconds() -> float:
        asked.append(next(answers))
        fake.new = 1000
        return asked[-1]

    def wait(_: float) -> bool:
        if len(asked) == 4:
            done.set()
        return done.is_set()

    with collector(fake) as tuned:
        asking = idle_gc(tuned, idle_seconds, wait=wait)
        with asking:
            assert done.wait(10)
        assert tuned.stats().idle == 2
        assert [pause.idle for pause in tuned.stats().pauses] == [True]
        with pytest.raises(ConfigError, match="started before"):
            asking.__enter__()
    with collector(fake) as tuned, idle_gc(tuned, lambda: 0.0, interval=60.0):
        pass  # the end does not wait for the interval


class Node:
    """Garbage that only the collector finds."""

    def __init__(self) -> None:
        self.me = self


def test_the_real_collector() -> None:
    before = (gc.get_threshold(), gc.isenabled(), list(gc.callbacks))
    gc.unfreeze()
    with Collector(young=100_000) as tuned:
        stats = tuned.stats()
        assert stats.gc_kind == current_gc_kind()
        assert stats.frozen > 1000
        if stats.gc_kind != "unknown":
            assert gc.get_threshold()[0] == 100_000
        for _ in range(2000):
            Node()
        assert tuned.idle() is not None
        (pause, *_) = tuned.stats().pauses
        assert pause.idle
        assert pause.collected >= 2000
        assert 0 < pause.longest <= pause.seconds
    assert (gc.get_threshold(), gc.isenabled(), list(gc.callbacks)) == before
    assert gc.get_freeze_count() == 0
    assert PROCESS.gc_kind == current_gc_kind()


@pytest.mark.parametrize("kind", ["generational", "incremental", "free-threaded"])
def test_the_threshold_is_moved_by_whoever_tuned_the_process_alone(fake: FakeGc, kind: GcKind) -> None:
    tuning = GcTuning(fake, kind)
    fake.thresholds = (2000, 7, 3)
    with collector(fake, kind, tuning) as outer, collector(fake, kind, tuning) as inner:
        outer.retune(9000)
        inner.retune(100)
        assert fake.thresholds == (9000, 7, 3)
        assert outer.young == 9000
        with pytest.raises(ConfigError, match="young=-1"):
            outer.retune(-1)
    assert fake.thresholds == (2000, 7, 3)
    with pytest.raises(ConfigError, match="with block"):
        outer.retune(1)


def test_the_threshold_of_an_unknown_collector_is_left_alone(fake: FakeGc) -> None:
    before = fake.thresholds
    with collector(fake, "unknown") as tuned:
        tuned.retune(9000)
        assert (fake.thresholds, tuned.young) == (before, 50_000)
