"""The worker's part of a batch curve (see `curve.py`): the same loops as everywhere, at growing batches."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from grandopt.errors import GrandoptError
from grandopt.measurement.sampling import Batch, Run, sample
from grandopt.measurement.settings import Settings
from grandopt.measurement.statistics import is_stable
from grandopt.signature import Array

WINDOWS = 256
FEWEST_CALLS = 8
"""What a batch size costs at least: first call, warm-up, and three rounds of an untimed and a timed call."""

SHARE_S = 0.25
"""Seconds of calls of one subject at one batch size."""

MOST_TURNS = 3
REPEAT_SHARE = 0.1
"""How often a batch size is measured before an unsteady speed is taken as it is, and the share of the time
left that another turn may take: larger batches are worth more."""

Call = Callable[[Batch], Any]


def curve(
    calls: Sequence[Call], ring: Sequence[Array], job: dict[str, Any], overhead_ns: float
) -> list[dict[str, Any]]:
    """For each call the points of its curve as plain numbers, and why it has no more of them."""
    end = time.perf_counter() + job["max_seconds"]
    found: list[dict[str, Any]] = [{"points": [], "reason": None} for _ in calls]
    left = dict(enumerate(calls))
    expected = 0.0
    for batch in job["batches"]:
        if not left or time.perf_counter() + expected > end:
            for place in left:
                found[place]["reason"] = f"no time for batches of {batch} and more"
            break
        runs: dict[int, Run] = {}
        for place, call in list(left.items()):
            try:
                runs[place] = _opened(call, ring, batch)
            except GrandoptError as error:
                found[place]["reason"] = f"cannot take a batch of {batch}: {error}"
                del left[place]
        settings = Settings.quick(
            threads=job["threads"], batch=batch, rounds=6, window_ms=2.0, max_seconds=SHARE_S
        )
        for turn in range(MOST_TURNS):
            begin = time.perf_counter()
            sample(list(runs.values()), settings, overhead_ns, f"curve:{batch}:{turn}")
            now = time.perf_counter()
            if all(_is_steady(run) for run in runs.values()) or now - begin > REPEAT_SHARE * (end - now):
                break
        for place, run in runs.items():
            found[place]["points"].append(_point(run, batch))
        # The next batch is twice as large and takes at most about twice as long.
        expected = 2 * FEWEST_CALLS * sum(run.typical_ns for run in runs.values()) / 1e9
    return found


def _opened(call: Call, ring: Sequence[Array], batch: int) -> Run:
    feed = _windows(ring, batch)
    start = time.perf_counter_ns()
    call(next(feed))
    return Run(call, feed, load_ns=0, first_call_ns=time.perf_counter_ns() - start)


def _windows(ring: Sequence[Array], batch: int) -> Iterator[Batch]:
    return itertools.cycle([[array[i : i + batch] for array in ring] for i in range(WINDOWS)])


def _is_steady(run: Run) -> bool:
    return is_stable([float(np.median(blocks)) for blocks in run.block_ns])


def _point(run: Run, batch: int) -> dict[str, Any]:
    blocks = np.concatenate(run.block_ns)
    return {
        "batch": batch,
        "p50_ns": float(np.median(blocks)),
        "mean_ns": float(blocks.mean()),
        "calls": int(blocks.size) * run.block_calls,
        "stable": _is_steady(run),
    }
