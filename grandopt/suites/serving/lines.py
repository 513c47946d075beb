"""The promises of the seed system and the targets of the engine, each beside what was measured."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from grandopt.measurement.statistics import CONFIDENCE, RESAMPLES, percentile, too_few
from grandopt.signature import Array
from grandopt.suites.serving import contenders as names
from grandopt.suites.serving.agents import TACTICAL
from grandopt.suites.serving.result import Line
from grandopt.suites.serving.rounds import Standing, times_as_fast
from grandopt.suites.serving.wire import HitRate, LoneTimes

PROMISES = "promises of the seed system"
LONE = "a lone caller of decision_gate"
MANY = "64 callers of decision_gate"
FEW = "8 callers of decision_gate"
LONG = "64 callers of tactical_embedder"
Standings = Mapping[str, Standing]
Interval = tuple[float, float, float]

BESIDE = ((names.THREADS, 50.0), (names.BATCHED, 3.0), (names.RAY, 150.0), (names.RAY_FAST, 150.0))
"""How many times as many answers as these."""


def promises(gate: Standings, alone: list[LoneTimes], all_alone: Array, trace: HitRate) -> list[Line]:
    """What the seed system promised: of the decision gate, against its eager original one call at a time."""
    engine, eager = gate[names.ENGINE], gate[names.EAGER]
    batch_s = [np.array(one.batch) / 1e9 for one in alone]
    rate = 1e9 / float(np.mean(all_alone))
    late = too_few(all_alone.size, 99.0)
    return [
        _batching(batch_s, eager),
        _beside("concurrency: 64 callers ÷ eager, one by one", 5.0, engine, eager, 64, group=PROMISES),
        Line(PROMISES, "calls a second, one caller", "1/s", 1000.0, True, rate),
        Line(
            PROMISES,
            "decision path: p99 of await infer",
            "ms",
            1.0,
            False,
            None if late else percentile(all_alone, 99.0) / 1e6,
            reason=late,
            note="the decision gate, a lone caller",
        ),
        Line(
            PROMISES,
            "cache hit rate",
            "%",
            90.0,
            True,
            100.0 * trace.hits / trace.requests if trace.wrong == 0 else None,
            reason=f"{trace.wrong} of the answers that were checked were wrong" if trace.wrong else None,
            note=f"of {trace.requests} requests to {TACTICAL} through the engine, {trace.distinct} different",
        ),
    ]


def lone(alone: list[LoneTimes]) -> list[Line]:
    """What the engine adds to the artifact's own call, at the median."""
    found = []
    for text, target, way in (("await infer", 25.0, "infer"), ("infer_now", 2.0, "infer_now")):
        rounds = [(np.array(getattr(one, way)) - np.array(one.direct)) / 1e3 for one in alone]
        value, low, high = _median(rounds)
        direct = float(np.median(np.concatenate([one.direct for one in alone]))) / 1e3
        found.append(
            Line(
                LONE,
                f"{text} − direct call",
                "µs",
                target,
                False,
                value,
                low,
                high,
                note=f"the direct call takes {direct:.1f} µs",
            )
        )
    return found


def many(gate: Standings) -> list[Line]:
    """64 callers of the decision gate, beside the other ways of serving it."""
    engine = gate[names.ENGINE]
    return [
        *(_beside(f"÷ {name}", target, engine, gate[name], 64) for name, target in BESIDE),
        *(
            _beside(f"÷ {name}", 1.0, engine, gate[name], 64)
            for name in (names.SIMPLE_EAGER, names.SIMPLE_SCRIPT)
        ),
    ]


def few(gate: Standings) -> list[Line]:
    """Eight callers of the decision gate."""
    engine = gate[names.ENGINE]
    loops, times = engine.rounds(8), engine.times.get(8, [])
    if not loops:
        return [Line(FEW, "answers a second", "1/s", 150_000.0, True, None, reason=engine.reason)]
    every = np.concatenate(times)
    late = too_few(every.size, 99.0)
    rate = float(np.median([loop.answered / loop.seconds for loop in loops]))
    p99 = None if late else percentile(every, 99.0) / 1e6
    return [
        Line(FEW, "answers a second", "1/s", 150_000.0, True, rate),
        Line(FEW, "p99", "ms", 0.1, False, p99, reason=late),
    ]


def long(tactical: Standings) -> list[Line]:
    """64 callers of the tactical embedder, against its eager original one call at a time."""
    return [
        _beside("÷ eager, one by one", 5.0, tactical[names.ENGINE], tactical[names.EAGER], 64, group=LONG)
    ]


def _batching(batch_s: list[Array], eager: Standing) -> Line:
    text = "batching: batch_inference of 256 ÷ eager, one by one"
    loops = eager.rounds(64)
    if not loops:
        return Line(PROMISES, text, "times", 10.0, True, None, reason=eager.reason)
    one = float(np.median([loop.seconds / loop.answered for loop in loops]))
    value, low, high = _median([one / times for times in batch_s])
    return Line(PROMISES, text, "times", 10.0, True, value, low, high)


def _beside(
    text: str,
    target: float,
    engine: Standing,
    other: Standing,
    callers: int,
    *,
    group: str = MANY,
) -> Line:
    found = times_as_fast(engine, other, callers)
    if found is None:
        reason = engine.reason or other.reason
        return Line(group, text, "times", target, True, None, reason=reason)
    return Line(group, text, "times", target, True, *found, note=other.setting or "")


def _median(processes: list[Array]) -> Interval:
    """The median of rounds, and its 95 % interval by resampling processes, then rounds within them."""
    rng = np.random.default_rng(0)
    drawn = [
        np.median(
            np.concatenate(
                [
                    rng.choice(processes[place], processes[place].size)
                    for place in rng.integers(len(processes), size=len(processes))
                ]
            )
        )
        for _ in range(RESAMPLES)
    ]
    tail = 50.0 * (1.0 - CONFIDENCE)
    low, high = np.percentile(drawn, [tail, 100.0 - tail])
    return float(np.median(np.concatenate(processes))), float(low), float(high)
