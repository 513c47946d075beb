"""What three processes do not settle is measured in more, as long as the agent's time lasts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from grandopt.errors import MeasurementError
from grandopt.measurement.result import Measurement
from grandopt.measurement.settings import MOST_PROCESSES, MeasurementSettings
from grandopt.workflows.building.built import ORIGINAL
from grandopt.workflows.job import Run
from grandopt.workflows.selection.candidate_set import CandidateSet
from grandopt.workflows.selection.final_decision import _settled
from tests.workflows.fakes import SCRIPT, built, measurement

LABEL = SCRIPT.label.replace("/", "__")


def in_processes(originals: Sequence[float]) -> Measurement:
    """One process for each time of the original (µs); the candidate takes 5 µs in all."""
    found: Measurement | None = None
    for us in originals:
        three = measurement(**{ORIGINAL: us, LABEL: 5.0})
        subjects = tuple(replace(item, processes=item.processes[:1]) for item in three.subjects)
        one = replace(three, subjects=subjects, settings=MeasurementSettings(processes=1, max_seconds=4.0))
        found = one if found is None else found.joined(one)
    assert found is not None
    return found


@dataclass
class Machine:
    """Measures the original at these times (µs), process after process; None ends a worker."""

    coming: list[float | None]
    firsts: list[int] = field(default_factory=list)
    program: Any = field(default_factory=lambda: SimpleNamespace(name="agent"))
    said: list[str] = field(default_factory=list)
    ends: float | None = field(default_factory=lambda: time.monotonic() + 60.0)

    def measure(self, builds: object, settings: MeasurementSettings, *, first: int) -> Measurement:
        assert settings.processes == 1
        self.firsts.append(first)
        us = self.coming.pop(0)
        if us is None:
            raise MeasurementError("the worker process ended")
        return in_processes([us])

    def tell(self, agent: str, step: str, message: str, level: str = "info") -> None:
        self.said.append(message)

    def settled(self, begun: Sequence[float]) -> Measurement:
        found = in_processes(begun)
        run, candidates = cast("Run", self), cast("CandidateSet", self)
        return _settled(run, candidates, [built(SCRIPT)], found, 1.0)


WIDE = (10.0, 10.0, 14.0)


def test_what_is_steady_is_not_measured_again() -> None:
    machine = Machine([])
    found = machine.settled((10.0, 10.1, 10.2))
    assert (found.settings.processes, machine.said) == (3, [])
    assert found.steady(SCRIPT.label, ORIGINAL)


def test_one_process_at_a_time_until_it_is_steady_or_enough() -> None:
    machine = Machine([10.0] * 9)
    found = machine.settled(WIDE)
    count = found.settings.processes
    assert machine.firsts == list(range(3, count)), "processes that measured nothing before"
    assert [len(item.processes) for item in found.subjects] == [count] * 2
    assert found.settings.max_seconds == pytest.approx(4.0 * count)
    assert count == MOST_PROCESSES or found.steady(SCRIPT.label, ORIGINAL)
    assert len(machine.said) == count - 3 > 0


def test_without_time_it_stays_as_it_is() -> None:
    for ends in (None, time.monotonic() + 0.5):
        machine = Machine([10.0], ends=ends)
        assert machine.settled(WIDE).settings.processes == 3
        assert machine.firsts == []


def test_a_worker_that_ends_takes_nothing_along() -> None:
    machine = Machine([10.0, None])
    assert machine.settled((10.0, 20.0, 40.0)).settings.processes == 4
    assert machine.said[-1] == "no more processes: the worker process ended"


def test_only_the_same_subjects_are_joined() -> None:
    with pytest.raises(MeasurementError, match="the same subjects"):
        measurement(a=1.0).joined(measurement(b=1.0))
