"""Leaks: by given readings, and of real processes."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from grandopt.errors import ConfigError
from grandopt.runtime.memory.census import Census
from grandopt.runtime.memory.history import MemoryReading
from grandopt.runtime.memory.leaks import LEAST, find_leak
from grandopt.runtime.memory.resident import Resident
from tests.runtime.memory.leaking import SIZE

MB = 1 << 20


def readings(
    resident: Callable[[int], float],
    blocks: Callable[[int], float] = lambda _: 1000,
    census: Callable[[int], Census] | None = None,
    count: int = 60,
) -> list[MemoryReading]:
    """One every ten seconds, with a noise of 100 kB."""
    noise = random.Random(1)
    return [
        MemoryReading(
            10.0 * number,
            Resident(int(100 * MB + resident(number) + noise.gauss(0, 1e5))),
            0,
            int(blocks(number) + noise.gauss(0, 3)),
            None if census is None else census(number),
        )
        for number in range(count)
    ]


def test_flat_memory_is_no_leak() -> None:
    report = find_leak(readings(lambda _: 0.0))
    assert (report.leaking, report.origin, report.growing) == (False, "none", ())
    assert "does not grow by 1.00 MiB/min or more for sure" in report.reason


def test_growth_below_the_least_is_no_leak() -> None:
    series = readings(lambda number: number * 10 * 0.5 * LEAST)
    assert not find_leak(series).leaking
    assert find_leak(series, least=0.2 * LEAST).leaking


def test_a_slope_is_a_leak_and_its_place_is_told_by_small_objects() -> None:
    report = find_leak(readings(lambda number: number * MB))
    assert (report.leaking, report.origin) == (True, "native")
    assert report.resident is not None
    assert report.resident.slope == pytest.approx(MB / 10, rel=0.02)
    assert report.resident.low < report.resident.slope < report.resident.high
    assert report.reason.startswith("resident memory grows by 6.0")
    assert find_leak(readings(lambda number: number * MB, lambda number: 40 * number)).origin == "python"


def test_a_warm_up_is_no_leak() -> None:
    series = readings(lambda number: 5 * MB * min(number, 30))
    assert not find_leak(series).leaking
    report = find_leak(series, least=0.0)
    assert not report.leaking
    assert "no longer in the later half" in report.reason


def test_steps_and_outliers_are_no_leak() -> None:
    assert not find_leak(readings(lambda number: 50 * MB * (number == 59))).leaking
    assert not find_leak(readings(lambda number: 8 * MB * (number > 10))).leaking
    assert not find_leak(readings(lambda number: 20 * MB * (number % 10 == 9))).leaking


def test_a_census_tells_the_parts_apart_and_names_types() -> None:
    def census(python: float, tensors: float) -> Callable[[int], Census]:
        return lambda number: Census(
            {
                "gate.Order": (100 + 10 * number, int(1e6 + python * MB * number)),
                "dict": (5000 + (-1) ** number, 500_000),
                "gone": (60 - number, 1000),
            },
            7,
            int(tensors * MB * number),
        )

    def report(python: float, tensors: float) -> Any:
        return find_leak(readings(lambda number: number * MB, census=census(python, tensors)))

    assert report(1.0, 0.0).origin == "python"
    assert report(0.0, 1.0).origin == "python"
    assert report(0.3, 0.2).origin == "python"
    found = report(0.1, 0.0)
    assert found.origin == "native"
    assert [growth.type for growth in found.growing] == ["gate.Order"]
    assert found.growing[0].objects.slope == pytest.approx(1.0)
    assert found.growing[0].bytes == pytest.approx(0.01 * MB, rel=0.01)
    assert found.native.slope == pytest.approx(0.09 * MB, rel=0.05)


def test_too_few_readings_tell_nothing() -> None:
    report = find_leak(readings(lambda number: number * MB, count=7))
    assert not report.leaking
    assert "7 readings are too few" in report.reason
    assert not find_leak([]).leaking
    with pytest.raises(ConfigError, match="cannot be negative"):
        find_leak([], least=-1.0)


def watched(kind: str, *more: str) -> dict[str, Any]:
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-m", "tests.runtime.memory.leaking", kind, *more],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("kind", "origin"), [("python", "python"), ("numpy", "python"), ("native", "native"), ("none", "none")]
)
def test_a_real_process_is_judged_by_its_small_objects(kind: str, origin: str) -> None:
    found = watched(kind)
    assert (found["leaking"], found["origin"]) == (origin != "none", origin), found
    if origin != "none":
        assert 0.5 * SIZE < found["slope"] < 2 * SIZE


@pytest.mark.parametrize(
    ("kind", "origin", "type_"),
    [
        ("python", "python", "__main__.Session"),
        pytest.param("numpy", "python", "numpy.ndarray", marks=pytest.mark.slow),
        ("native", "native", None),
        pytest.param("warm-up", "none", None, marks=pytest.mark.slow),
    ],
)
def test_a_census_of_a_real_process_finds_the_type(kind: str, origin: str, type_: str | None) -> None:
    found = watched(kind, "census")
    assert (found["leaking"], found["origin"]) == (origin != "none", origin), found
    if type_ is not None:
        assert type_ in found["growing"]
