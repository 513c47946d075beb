"""The highest rate that a target sustains, and its latency over rates below and above that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from grandopt.errors import MeasurementError
from grandopt.measurement.load.base import Law, Load
from grandopt.measurement.load.result import LoadResult

FRACTIONS = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5)
"""Of saturation: where a load curve has its points."""
CALLERS = 64
"""Of the closed loop whose throughput the search begins with."""
STEP = 1.25
PRECISION = 1.03
"""The search ends when the lowest rate that failed is at most this many times the highest that held."""
MOST_STEPS = 24
OVER = 1.25
"""How many times as much as is likely to be answered is asked for, where all that can be done is."""
TRIES = 8
CRITERION = "at the end of a run at most 1 % of the requests due in it (or their square root) had no answer"
"""What `LoadResult.sustained` holds, in words, of two of three runs of a rate: neither a single interruption
of a shared machine counts nor its best second."""


@dataclass(frozen=True)
class Saturation:
    """`rate` is the highest that was sustained, in requests a second, and `above` the lowest that was not.

    `closed` is the throughput of the closed loop that the search began with, `tried` every open loop: its
    rate, and whether it was sustained.
    """

    rate: float
    above: float
    closed: float
    tried: tuple[tuple[float, bool], ...]
    criterion: str = CRITERION


async def saturation(load: Load, *, callers: int = CALLERS, law: Law = "poisson") -> Saturation:
    """Find the highest rate that is sustained, within 3 %: from a closed loop's throughput up or down, and
    then between the last two.

    `callers` is 1 for what is called one by one. Raises MeasurementError where nothing is answered, or where
    no rate is sustained or all are.
    """
    first = await load.closed(callers)
    if not first.achieved:
        raise MeasurementError(
            f"no request was answered within {load.settings.seconds:g} s "
            f"({first.first_error or 'none of them ended'})"
        )
    low, high, rate = 0.0, math.inf, first.achieved
    tried: list[tuple[float, bool]] = []
    while high > PRECISION * low:
        if len(tried) == MOST_STEPS:
            raise MeasurementError(
                f"no saturation was found in {MOST_STEPS} runs: {low:.0f} requests a second were sustained, "
                f"{high:.0f} were not; the machine is too busy, or the runs are too short"
            )
        held = await _sustained(load, rate, law)
        tried.append((rate, held))
        if held:
            low = rate
        else:
            high = rate
        between = low > 0 and high < math.inf
        rate = math.sqrt(low * high) if between else rate * STEP if held else rate / STEP
    return Saturation(low, high, first.achieved, tuple(tried))


async def throughput(load: Load, guess: float, *, law: Law = "poisson") -> float:
    """Answers a second in a run with more requests than are answered: what is sustained for as long as a run
    of `load` takes.

    It costs one run where `saturation` costs many, and so can stand right beside what is compared with it.
    `guess` is what is likely to come of it. Raises MeasurementError where nothing is answered, or where all
    that is asked for is.
    """
    rate = OVER * guess
    for _ in range(TRIES):
        result = await load.at(rate, law)
        if not result.achieved:
            raise MeasurementError(
                f"of {rate:.0f} requests a second none was answered ({result.first_error or 'too slow'})"
            )
        if not result.sustained:
            return result.achieved
        rate *= OVER
    raise MeasurementError(f"all of {rate / OVER:.0f} requests a second were answered: that is no saturation")


async def _sustained(load: Load, rate: float, law: Law) -> bool:
    first, second = [(await load.at(rate, law)).sustained for _ in range(2)]
    return first if first == second else (await load.at(rate, law)).sustained


async def curve(
    load: Load, rate: float, fractions: Sequence[float] = FRACTIONS, *, law: Law = "poisson"
) -> tuple[LoadResult, ...]:
    """One run at each of these fractions of `rate`, in this order."""
    return tuple([await load.at(fraction * rate, law) for fraction in fractions])
