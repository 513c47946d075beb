"""An agent over time: the records whose figures may be compared, and where their level changed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from grandopt.reporting.history.change_points import LEAST, ChangePoint, change_points
from grandopt.reporting.history.records import AgentRecord, Record, RunRecord

FIGURES = {
    "p50": "p50_us",
    "p99": "p99_us",
    "throughput": "qps",
    "speedup": "speedup",
    "memory": "resident_mb",
    "size": "artifact_bytes",
    "start": "process_ms",
}
"""The figures that can be followed, and their fields."""

LAST = 300
"""How many runs of a series are searched for changes: the cost grows with their square."""

SAME_WAY = 0.5
"""Share of a change (of its logarithm) that the original must have made too to suspect the machine."""


@dataclass(frozen=True)
class SeriesKey:
    """What records share whose figures may be compared. `machine` is an identity, `threads` "1" or "auto"."""

    agent: str
    kind: str
    machine: str
    threads: str
    goal: str | None


@dataclass(frozen=True)
class Change:
    """A change of level: `record` is the first of the new level, `with_it` what else was new in that run.

    `original` is by which factor the original's median changed at the same place, None where it is not known.
    """

    record: Record
    point: ChangePoint
    original: float | None
    with_it: tuple[str, ...]

    @property
    def suspects_machine(self) -> bool:
        """Whether the original, which nobody optimized, changed as well: about as far, or further."""
        if self.original is None:
            return False
        mine, others = math.log(self.point.factor), math.log(self.original)
        return mine != 0 and others / mine >= SAME_WAY


@dataclass(frozen=True)
class Series:
    """One agent on one machine: its records by time, and the changes of one of its figures.

    `reason` says why there was nothing to be searched; it is None where changes were searched for.
    """

    key: SeriesKey
    records: tuple[Record, ...]
    figure: str
    changes: tuple[Change, ...]
    reason: str | None

    @property
    def cpu_model(self) -> str:
        """The machine in words."""
        return self.records[-1].run.cpu_model or "unknown processor"

    def change_at(self, record: Record) -> Change | None:
        """The change that begins with this record."""
        return next((change for change in self.changes if change.record is record), None)


def all_series(records: Iterable[Record], figure: str = "p50", seed: int = 0) -> tuple[Series, ...]:
    """The records sorted into series, by agent and then by machine, each searched for changes of `figure`.

    `figure` is a name of FIGURES. The same records and seed give the same changes.
    """
    groups: dict[SeriesKey, list[Record]] = {}
    for record in records:
        groups.setdefault(series_key(record.run, record.agent), []).append(record)
    ordered = sorted(groups, key=lambda key: (key.agent, key.kind, key.machine, key.threads, key.goal or ""))
    return tuple(_series(key, groups[key], figure, seed) for key in ordered)


def value(record: Record, figure: str) -> float | None:
    """A record's figure, None where it was not measured or is no positive number."""
    found = getattr(record.agent, FIGURES[figure])
    return float(found) if found is not None and found > 0 else None


def series_key(run: RunRecord, agent: AgentRecord) -> SeriesKey:
    """The series that an agent of a run belongs to."""
    goal = agent.goal if run.kind == "tune" else None
    return SeriesKey(agent.agent, run.kind, run.machine, run.threads, goal)


def _series(key: SeriesKey, records: Sequence[Record], figure: str, seed: int) -> Series:
    known = [(record, found) for record in records if (found := value(record, figure)) is not None][-LAST:]
    if len(known) < LEAST:
        runs = "1 run" if len(known) == 1 else f"{len(known)} runs"
        reason = f"{runs} with this figure: too few to look for changes, which takes {LEAST}"
        return Series(key, tuple(records), figure, (), reason)
    points = change_points([found for _, found in known], seed)
    measured = [record for record, _ in known]
    ends = [0, *(point.at for point in points), len(measured)]
    changes = tuple(
        Change(
            measured[point.at],
            point,
            _original(measured, ends[index], point.at, ends[index + 2]),
            _differences(measured[point.at - 1], measured[point.at]),
        )
        for index, point in enumerate(points)
    )
    return Series(key, tuple(records), figure, changes, None)


def _original(records: Sequence[Record], low: int, at: int, high: int) -> float | None:
    """By which factor the original's p50 changed between two stretches of records."""
    sides = [
        [found for record in records[begin:end] if (found := record.agent.original_p50_us)]
        for begin, end in ((low, at), (at, high))
    ]
    return median(sides[1]) / median(sides[0]) if all(sides) else None


def _differences(before: Record, after: Record) -> tuple[str, ...]:
    """What a run had otherwise than the one before it, in words."""
    old, new = before.run.libraries, after.run.libraries
    found = [
        f"{name} {old.get(name, 'absent')} → {new.get(name, 'absent')}"
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]
    found += _moved("python", before.run.python, after.run.python)
    found += _moved("profile", before.run.profile, after.run.profile)
    found += _moved("shipped", before.agent.label, after.agent.label)
    if before.agent.source != after.agent.source:
        found.append("another checkpoint")
    elif before.agent.digest != after.agent.digest and before.agent.label == after.agent.label:
        found.append("another artifact")
    return tuple(found)


def _moved(name: str, before: Any, after: Any) -> list[str]:
    return [] if before == after else [f"{name} {before or 'none'} → {after or 'none'}"]
