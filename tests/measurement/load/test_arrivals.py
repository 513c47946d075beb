"""Arrival times: of the law that was asked for, or exactly those of a file."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grandopt.errors import InputError, MeasurementError
from grandopt.measurement.load import arrivals
from grandopt.measurement.load.arrivals import constant, poisson, read_arrivals, replayed


@settings(max_examples=20)
@given(seed=st.integers(0, 1000))
def test_poisson_arrivals_have_their_law(seed: int) -> None:
    rate, seconds = 50_000.0, 1.0
    due = poisson(rate, seconds, np.random.default_rng(seed))
    assert due.min() >= 0
    assert due.max() < seconds * 1e9
    assert abs(len(due) - rate * seconds) < 6 * math.sqrt(rate * seconds)
    gaps = np.diff(due)
    assert gaps.min() >= 0
    assert gaps.mean() == pytest.approx(1e9 / rate, rel=0.03)
    for means in (0.5, 1.0, 3.0):  # exponential: the share of longer gaps
        assert (gaps > means * 1e9 / rate).mean() == pytest.approx(math.exp(-means), abs=0.015)
    in_each_ms = np.bincount(due // 1_000_000, minlength=1000)
    assert in_each_ms.var() == pytest.approx(in_each_ms.mean(), rel=0.35)
    assert abs(np.corrcoef(gaps[:-1], gaps[1:])[0, 1]) < 0.03


def test_the_same_seed_gives_the_same_arrivals() -> None:
    one, two, other = (poisson(1e4, 1.0, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


@given(rate=st.floats(0.5, 1e6), seconds=st.floats(0.01, 0.1))
def test_constant_arrivals_are_evenly_spaced(rate: float, seconds: float) -> None:
    due = constant(rate, seconds)
    assert due[0] == 0
    assert abs(len(due) - rate * seconds) <= 1
    assert due[-1] < round(seconds * 1e9)
    if len(due) > 1:
        gaps = np.diff(due)
        assert gaps.min() >= 1e9 / rate - 1
        assert gaps.max() <= 1e9 / rate + 1


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_rates_and_times_are_positive(value: float) -> None:
    for call in (lambda: constant(value, 1.0), lambda: poisson(1.0, value, np.random.default_rng(0))):
        with pytest.raises(MeasurementError, match="must be a positive number but got"):
            call()


def test_more_requests_than_fit_are_refused() -> None:
    with pytest.raises(MeasurementError, match="are more than 20,000,000; ask for fewer"):
        constant(1e9, 60.0)


@given(st.floats(-1e9, 1e9), st.lists(st.floats(0, 86_000), min_size=1))
def test_recorded_times_begin_at_zero_and_keep_their_distances(first: float, later: list[float]) -> None:
    times = [first + second for second in sorted(later)]
    due = replayed(np.array(times))
    assert due[0] == 0
    assert np.allclose(due / 1e9, np.array(times) - times[0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("times", "words"),
    [
        ([], "one row of numbers"),
        ([[1.0]], "one row of numbers"),
        ([0.0, math.nan], "arrival time 2 is nan"),
        ([0.0, 1e12], "from 0 to 1e.12, more than a day"),
        ([-1.7e308, 1.7e308], "more than a day"),
        ([0.0, 1j], "must be numbers of seconds, got complex128"),
        ([False, True], "must be numbers of seconds, got bool"),
        ([0.0, 2.0, 1.0], r"arrival time 3 \(1\) is before the one in front of it \(2\); sort them"),
    ],
)
def test_other_times_are_refused(times: list[complex], words: str) -> None:
    with pytest.raises(MeasurementError, match=words):
        replayed(np.array(times))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "time,key\n5.0,a\n5.25,b\n\n6,c\n"),
        ("b.txt", "5\n5.25\n6\n"),
        ("c.csv", "5;x\n5.25;y\n6;z"),
        ("d.txt", "5 x\n5.25 y\n6 z"),
    ],
)
def test_text_is_read(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert read_arrivals(tmp_path / name).tolist() == [0, 250_000_000, 1_000_000_000]


def test_arrays_are_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([5.0, 5.25, 6.0]))
    assert read_arrivals(tmp_path / "a.npy").tolist() == [0, 250_000_000, 1_000_000_000]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "one row of numbers|none|shape"),
        (b"1.0\ntwo\n", "could not convert"),
        (b"2\n1\n", "sort them"),
        (b"\xff\xfe\x00", "decode"),
        (b"\x93NUMPY\x01", "holds no arrival times"),
    ],
)
def test_what_holds_no_times_is_refused_with_its_name(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "times.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        read_arrivals(path)
    assert "times.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_arrivals(tmp_path / "none.csv")


def test_a_file_of_too_many_times_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "MOST_REQUESTS", 2)
    (tmp_path / "a.txt").write_text("1\n2\n3\n")
    with pytest.raises(InputError, match="3 arrival times are more than 2"):
        read_arrivals(tmp_path / "a.txt")


@given(content=st.binary(max_size=200))
def test_any_bytes_are_times_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.bin"
    path.write_bytes(content)
    try:
        due = read_arrivals(path)
    except InputError:
        return
    assert due[0] == 0
    assert (np.diff(due) >= 0).all()
