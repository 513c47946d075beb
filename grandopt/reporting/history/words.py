"""What the history says to people, in words."""

from __future__ import annotations

from collections.abc import Callable

from grandopt.reporting.history.series import Change, Series
from grandopt.reporting.units import duration, rate, size

MACHINE_DIGITS = 8
"""Digits of a machine's identity that people see; enough to name it with --machine."""

UNITS: dict[str, Callable[[float], str]] = {
    "p50": duration,
    "p99": duration,
    "throughput": lambda value: f"{rate(value)}/s",
    "speedup": lambda value: f"{value:.3g}×",
    "memory": lambda value: size(value * 1e6),
    "size": size,
    "start": lambda value: duration(value * 1e3),
}


def title(series: Series) -> str:
    """What a series is of: agent, kind of run, threads and machine."""
    key = series.key
    goal = f" for {key.goal}" if key.goal is not None else ""
    machine = key.machine[:MACHINE_DIGITS] or "identity not recorded"
    return f"{key.agent} · {key.kind}{goal} · threads {key.threads} · {series.cpu_model} ({machine})"


def change_words(change: Change, figure: str) -> str:
    """A change in one line: when, from what to what, how sure, what else was new, and the original's."""
    words, point = UNITS[figure], change.point
    line = (
        f"{change.record.run.started[:16].replace('T', ' ')}: {figure} {words(point.before)} → "
        f"{words(point.after)} ({figure_words(point.factor)}, p = {point.p:.3f})"
    )
    if change.with_it:
        line += f"; new in that run: {', '.join(change.with_it)}"
    if change.suspects_machine and change.original is not None and figure in ("p50", "p99"):
        line += f"; the original's p50 changed by {figure_words(change.original)}: rather the machine"
    return line


def figure_words(factor: float) -> str:
    """A change by a factor: "+18 %", "-4.2 %", "×3.1"."""
    if factor >= 2:
        return f"×{factor:.3g}"
    return f"{100 * (factor - 1):+.2g} %"
