"""Comparing in real worker processes, with agents whose speed is known."""

from __future__ import annotations

import itertools
from pathlib import Path

import psutil
import pytest

from grandopt.errors import MeasurementError
from grandopt.measurement.compare.comparison import Figure, Plan, compare
from grandopt.measurement.compare.sequential import FEWEST
from tests.fakes_measurement import LOADER, ring, subject

QUICK = Plan(seconds=0.02, loader=LOADER)


def test_an_agent_that_takes_three_times_as_long_is_a_regression(tmp_path: Path) -> None:
    fast, slow = subject(tmp_path, "fast", "spin", us=20.0), subject(tmp_path, "slow", "spin", us=60.0)
    told: list[tuple[int, int]] = []
    found = compare(
        fast, slow, ring(), {"p50": 0.5}, QUICK, on_progress=lambda done, most: told.append((done, most))
    )
    compared = found["p50"]
    assert compared.judgement is not None
    assert compared.evidence is not None
    assert compared.judgement.outcome == "regression"
    assert len(compared.evidence.change) == len(compared.evidence.noise) == compared.judgement.processes
    assert told == [(done, 20) for done in range(1, compared.judgement.processes + 1)]
    assert compared.baseline is not None
    assert compared.candidate is not None
    assert compared.candidate > 2 * compared.baseline


@pytest.mark.slow
def test_the_other_way_round_it_is_none(tmp_path: Path) -> None:
    fast, slow = subject(tmp_path, "fast", "spin", us=20.0), subject(tmp_path, "slow", "spin", us=60.0)
    back = compare(slow, fast, ring(), {"p50": 0.5}, QUICK)["p50"].judgement
    assert back is not None
    assert back.outcome == "pass"
    assert back.high < 0


@pytest.mark.slow
def test_all_figures_of_one_comparison(tmp_path: Path) -> None:
    limits: dict[Figure, float] = {"p50": 1e-6, "p99": 1e-6, "memory": 1e-6, "cold_start": 1e-6}
    agent = subject(tmp_path, "agent", "spin", us=20.0)
    # A clock by which every process takes the whole budget: the fewest are made nevertheless.
    clock = itertools.count(0.0, 100.0)
    before = set(psutil.Process().children(recursive=True))
    found = compare(agent, agent, ring(), limits, QUICK, clock=lambda: next(clock))
    assert list(found) == list(limits)
    for compared in found.values():
        assert compared.judgement is not None
        assert compared.judgement.processes == FEWEST
        assert compared.baseline is not None
        assert compared.candidate is not None
        assert compared.baseline > 0
        assert compared.candidate > 0
    assert set(psutil.Process().children(recursive=True)) <= before


def test_what_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    good, bad = subject(tmp_path, "good", "instant"), subject(tmp_path, "bad", "refused")
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(MeasurementError, match=r"bad \(candidate\): its digest does not fit"):
        compare(good, bad, ring(), {"p50": 0.05}, QUICK)
    assert set(psutil.Process().children(recursive=True)) <= before


def test_what_is_gone_is_named(tmp_path: Path) -> None:
    good, gone = subject(tmp_path, "good", "instant"), subject(tmp_path, "gone", "instant")
    (gone.path / "fake.json").unlink()
    gone.path.rmdir()
    with pytest.raises(MeasurementError, match="gone: cannot be copied to be measured"):
        compare(good, gone, ring(), {"p50": 0.05}, QUICK)


def test_plans_that_cannot_be() -> None:
    with pytest.raises(MeasurementError, match=r"at least 4 processes to know its own noise, got 3"):
        Plan(processes=3)
    with pytest.raises(MeasurementError, match=r"budget_s must be a positive number, got 0"):
        Plan(budget_s=0)
