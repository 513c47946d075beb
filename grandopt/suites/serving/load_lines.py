"""What must hold below and above saturation, beside what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

from grandopt.suites.serving.result import Line
from grandopt.suites.serving.wire import LoadPoint, SteadyRound, UnderLoad

GROWTH_MB = 16.0
"""What may be added to the resident memory in the second half: nothing may go on growing."""
TOLD = 0.1
"""Of their deadline; by then a caller can still turn elsewhere."""
MISSING = "too few requests for the percentile: measure for longer (--budget)"


def under_load(agent: str, found: UnderLoad) -> list[Line]:
    """The lines of one agent."""
    group = _group(agent)
    above = found.points[-1]
    best = max(point.goodput for point in [*_steady(found), *found.points[:-1]])
    calm, pressed = _median(point.critical_p99_s for point in _steady(found)), above.critical_p99_s
    critical = pressed / calm if calm and pressed else None
    told = above.refused_p99_s
    # Where answering takes less than asking, a program cannot ask for more than is answered.
    short = (
        ""
        if above.kept_up
        else (
            "the event loop cannot make more requests than are answered: asking takes longer than answering"
        )
    )
    return [
        below_saturation(agent, found),
        Line(
            group,
            "150 %: goodput ÷ best",
            "times",
            0.9,
            True,
            None if short or not best else above.goodput / best,
            reason=short or "nothing was answered in time",
            note=f"the deadline is {1e3 * found.deadline_s:.1f} ms",
        ),
        Line(group, "150 %: CRITICAL p99 ÷ that at 70 %", "times", 2.0, False, critical, reason=MISSING),
        Line(
            group,
            "150 %: p99 from asked to refused ÷ deadline",
            "times",
            TOLD,
            False,
            None if told is None else told / found.deadline_s,
            reason="too few were refused for the percentile" if above.refused else "nothing was refused",
            note=f"{above.refused} of {above.requests} refused ({above.let_in} of them let in before), "
            f"{above.failed} failed, {above.lost} lost",
        ),
        Line(
            group,
            "150 %: memory grown in the second half",
            "MB",
            GROWTH_MB,
            False,
            found.grown_bytes / 1e6,
            note=f"at most {found.deepest} waited, of {found.bound} that may",
        ),
    ]


def below_saturation(agent: str, found: UnderLoad) -> Line:
    """The line of the rounds at 70 %."""
    tails = [tail for one in found.steady if (tail := _tail(one, one.point.p99_s, found)) is not None]
    return Line(
        _group(agent),
        "p99 at 70 % ÷ (3 × unloaded p99 + batch)",
        "times",
        1.0,
        False,
        _median(tails),
        reason=MISSING,
        note=f"the median of {len(tails)} rounds; each: {_rounds(found)}; the largest batch takes "
        f"{1e3 * found.batch_s:.2f} ms",
    )


def _group(agent: str) -> str:
    return f"{agent} under load"


def _steady(found: UnderLoad) -> list[LoadPoint]:
    return [one.point for one in found.steady]


def _tail(one: SteadyRound, p99_s: float | None, found: UnderLoad) -> float | None:
    """A p99 of a round as a share of its limit."""
    if p99_s is None or one.alone_p99_s is None:
        return None
    return p99_s / (3 * one.alone_p99_s + found.batch_s)


def _rounds(found: UnderLoad) -> str:
    """What each round came to, with what was sustained right before it, and what the machine itself makes of
    the same rate."""
    words = []
    for one in found.steady:
        tail, bare = _tail(one, one.point.p99_s, found), _tail(one, one.bare_p99_s, found)
        said = "no p99" if tail is None else f"{tail:.2f} times"
        beside = "" if bare is None else f", bare threads as busy, without the engine, {bare:.2f} times"
        words.append(f"{said} at a saturation of {one.point.saturation:.0f}/s{beside}")
    return "; ".join(words)


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
