"""When requests are due: drawn, evenly spaced, or as they were recorded. Nanoseconds from the beginning."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from grandopt import limits, npy
from grandopt.errors import InputError, MeasurementError, first_line
from grandopt.signature import Array

MOST_REQUESTS = 20_000_000
"""In one run: every request keeps 26 bytes of what became of it."""


LONGEST_S = 86_400
"""Of recorded arrivals, which are replayed at their own pace."""


def poisson(rate: float, seconds: float, rng: np.random.Generator) -> Array:
    """Arrivals of independent callers, `rate` a second on average: int64 [n], rising, below `seconds`.

    Of a Poisson process the number within a time is Poisson distributed, and given that number the moments
    are uniform. Raises MeasurementError for a rate or a time that is not positive, or too many requests.
    """
    count = int(rng.poisson(_expected(rate, seconds)))
    return np.sort((rng.random(count) * seconds * 1e9).astype(np.int64))


def constant(rate: float, seconds: float) -> Array:
    """Arrivals 1/`rate` seconds apart, the first at once. Raises MeasurementError as `poisson` does."""
    count = math.ceil(_expected(rate, seconds))
    due = (np.arange(count) * (1e9 / rate)).astype(np.int64)
    return due[due < round(seconds * 1e9)]


def replayed(seconds: Array) -> Array:
    """Recorded arrival times in seconds of any clock, moved so that the first is at 0: int64 [n].

    Raises MeasurementError where there are none or too many, where one is no number, or before the one in
    front of it, and where they take more than a day.
    """
    if np.asarray(seconds).dtype.kind not in "iuf":
        raise MeasurementError(f"arrival times must be numbers of seconds, got {np.asarray(seconds).dtype}")
    times = np.asarray(seconds, dtype=np.float64)
    if times.ndim != 1 or not times.size:
        raise MeasurementError(f"arrival times must be one row of numbers, got the shape {list(times.shape)}")
    if times.size > MOST_REQUESTS:
        raise MeasurementError(f"{times.size:,} arrival times are more than {MOST_REQUESTS:,}")
    if not np.isfinite(times).all():
        place = int(np.argmin(np.isfinite(times)))
        raise MeasurementError(f"arrival time {place + 1} is {times[place]}: every one must be a number")
    falls = np.flatnonzero(times[1:] < times[:-1])
    if falls.size:
        place = int(falls[0])
        raise MeasurementError(
            f"arrival time {place + 2} ({times[place + 1]:g}) is before the one in front of it "
            f"({times[place]:g}); sort them"
        )
    span = times[-1] / 2 - times[0] / 2  # halves: the difference itself may be beyond all numbers
    if span > LONGEST_S / 2:
        raise MeasurementError(
            f"the arrival times go from {times[0]:g} to {times[-1]:g}, more than a day of {LONGEST_S:,} "
            f"seconds; are they in seconds? Give fewer of them otherwise"
        )
    return np.asarray(np.rint((times - times[0]) * 1e9), dtype=np.int64)


def read_arrivals(path: Path) -> Array:
    """The arrival times of a file, as `replayed` gives them.

    Understood are `.npy` (one row of numbers) and text with one request a line, whose first column (up to a
    comma, semicolon or blank) is the time; a first line that is no number is a heading. All are in seconds.
    Raises InputError for others.
    """
    try:
        data = limits.content(path, limits.TRACE_BYTES)
        times = npy.array(data) if data.startswith(npy.MAGIC) else _column(data.decode("utf-8"))
        return replayed(times)
    except OSError as error:
        raise InputError(f"{limits.shortened(path)}: cannot be read ({error.strerror})") from error
    except MeasurementError as error:
        raise InputError(f"{limits.shortened(path)}: {error}") from error
    except npy.DAMAGED as error:
        raise InputError(
            f"{limits.shortened(path)}: holds no arrival times ({first_line(error)}); give an .npy file, or "
            f"text with one time in seconds a line"
        ) from error


def _column(text: str) -> Array:
    lines = [line for line in text.splitlines() if line.strip()]
    fields = [line.replace(",", " ").replace(";", " ").split()[:1] for line in lines]
    words = [field[0] if field else "" for field in fields]
    if words and not _is_number(words[0]):
        del words[0]
    return np.array([float(word) for word in words])


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _expected(rate: float, seconds: float) -> float:
    for name, value in (("rate", rate), ("seconds", seconds)):
        if not 0 < value < math.inf:
            raise MeasurementError(f"{name} must be a positive number but got {value}")
    if rate * seconds > MOST_REQUESTS:
        raise MeasurementError(
            f"{rate:g} requests a second for {seconds:g} s are more than {MOST_REQUESTS:,}; ask for fewer"
        )
    return rate * seconds
