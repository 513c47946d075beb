"""What must hold below and above saturation, beside what was measured."""

from __future__ import annotations

from grandopt.suites.serving.result import Line
from grandopt.suites.serving.wire import LoadPoint, UnderLoad

STEADY = 0.7
GROWTH_MB = 16.0
"""What may be added to the resident memory in the second half: nothing may go on growing."""
TOLD = 0.1
"""Of their deadline; by then a caller can still turn elsewhere."""
MISSING = "too few requests for the percentile: measure for longer (--budget)"


def under_load(agent: str, found: UnderLoad) -> list[Line]:
    """The lines of one agent."""
    group = f"{agent} under load"
    steady, above = _at(found, STEADY), found.points[-1]
    best = max(point.goodput for point in found.points[:-1])
    tail = None
    if steady.p99_s is not None and found.alone_p99_s is not None:
        tail = steady.p99_s / (3 * found.alone_p99_s + found.batch_s)
    calm, pressed = steady.critical_p99_s, above.critical_p99_s
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
        Line(
            group,
            "p99 at 70 % ÷ (3 × unloaded p99 + batch)",
            "times",
            1.0,
            False,
            tail,
            reason=MISSING,
            note=f"saturation {found.saturation:.0f}/s; the largest batch takes {1e3 * found.batch_s:.2f} ms"
            + _bare(found),
        ),
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


def _bare(found: UnderLoad) -> str:
    """What the machine itself makes of the same rate, as a share of the same limit."""
    if found.bare_p99_s is None or found.alone_p99_s is None:
        return ""
    times = found.bare_p99_s / (3 * found.alone_p99_s + found.batch_s)
    return f"; bare threads as busy, without the engine: {times:.2f} times"


def _at(found: UnderLoad, fraction: float) -> LoadPoint:
    return next(point for point in found.points if point.fraction == fraction)
