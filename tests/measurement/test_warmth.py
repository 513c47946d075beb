"""The two figures of a call: what is done before each call that is timed, and what is taken off."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build
from grandopt.config.engines import TorchScriptOptions
from grandopt.measurement.process.pool import WorkerPool
from grandopt.measurement.ring import Batch
from grandopt.measurement.subject import Subject
from grandopt.measurement.warmth import warmth
from grandopt.measurement.worker import warmth as worker
from grandopt.measurement.worker.sampling import TimedCalls
from tests.small_agents import Policy, program

EMPTY_NS, WARM_NS, COLD_NS, WORK_NS = 7, 100, 350, 10_000


class Machine:
    """A machine whose clock moves by what is done on it; a call is slow after other work."""

    def __init__(self) -> None:
        self.now = 0
        self.filled = False

    def perf_counter_ns(self) -> int:
        return self.now

    def work(self) -> None:
        self.now += WORK_NS
        self.filled = True

    def call(self, batch: Batch) -> None:
        self.now += COLD_NS if self.filled else WARM_NS
        self.filled = False

    def nothing(self, batch: Batch) -> None:
        self.now += EMPTY_NS


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr("time.perf_counter_ns", made.perf_counter_ns)
    monkeypatch.setattr(worker, "_nothing", made.nothing)
    return made


@pytest.mark.parametrize("turn_ns", [1.0, 1e6])
def test_each_figure_is_that_of_its_calls(machine: Machine, turn_ns: float) -> None:
    run = TimedCalls(machine.call, _feed(), load_ns=0, first_call_ns=0, typical_ns=WARM_NS, block_calls=4)
    times = worker._Times()
    worker._turn(run, times, machine.work, turn_ns)
    found = times.answer()
    assert found.warm_ns == (WARM_NS,)
    assert found.after_ns == (COLD_NS - EMPTY_NS,)
    assert found.warm_calls >= 4 * worker.FEWEST
    assert found.after_calls >= worker.FEWEST


def test_what_takes_no_longer_than_nothing_is_no_negative_time(machine: Machine) -> None:
    run = TimedCalls(machine.nothing, _feed(), load_ns=0, first_call_ns=0, typical_ns=EMPTY_NS)
    times = worker._Times()
    worker._turn(run, times, machine.work, 1e5)
    assert times.after == [1.0]


@pytest.mark.parametrize("size", [1, 64, 4096])
def test_the_work_touches_every_line(size: int) -> None:
    work = worker.OtherWork(size)
    work()
    work()
    lines = work._words
    assert lines.strides == (worker.LINE_BYTES,)
    assert lines.size == max(1, size // worker.LINE_BYTES)
    assert np.unique(lines).tolist() == [2]


def test_real_figures_of_two_subjects(tmp_path: Path) -> None:
    artifact = build(program(Policy), Candidate("float32", TorchScriptOptions()), Store(tmp_path))
    ring = [np.random.default_rng(0).standard_normal((256, 8)).astype(np.float32)]
    subjects = [Subject("a", artifact.path), Subject("b", artifact.path)]
    with WorkerPool(1) as pool:
        found = warmth(subjects, ring, pool, turn_s=0.02)
    assert [item.label for item in found] == ["a", "b"]
    assert all(item.warm_us > 0 and item.after_other_work_us > 0 for item in found)
    assert all(item.other_work_bytes >= 1 << 16 for item in found)


def _feed() -> Iterator[Batch]:
    return itertools.repeat([])
