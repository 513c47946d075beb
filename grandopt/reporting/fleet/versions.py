"""What a new version of grandopt did to the agents of one kind of machine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from grandopt.reporting.history.records import Record
from grandopt.reporting.history.series import SeriesKey, series_key

WORSE = 1.10
"""By so much a median must have grown to be called a regression; less is within what counts as stable."""
RUNS = 3
"""Runs of each version without which a difference is a hint."""


@dataclass(frozen=True)
class VersionChange:
    """The median latency of an agent by one version, and by the next, over their runs on one kind of machine.

    `factor` is after ÷ before; `original` is that of the original, which grandopt does not change: where it
    moved as well, the machine did. `libraries` are those that changed in between.
    """

    key: SeriesKey
    cpu_model: str
    before: str
    after: str
    before_us: float
    after_us: float
    runs: tuple[int, int]
    original: float | None
    libraries: tuple[str, ...]

    @property
    def factor(self) -> float:
        """After ÷ before."""
        return self.after_us / self.before_us

    @property
    def regression(self) -> bool:
        """Whether it is slower by more than `WORSE`, the change of the original taken out."""
        return self.factor / max(self.original or 1.0, 1.0) >= WORSE

    @property
    def hint(self) -> bool:
        """Whether there are too few runs for more than a hint."""
        return min(self.runs) < RUNS


def version_changes(records: Iterable[Record]) -> tuple[VersionChange, ...]:
    """From version to version in the order in which they first ran, regressions first."""
    series: dict[SeriesKey, list[Record]] = {}
    for record in records:
        if record.run.machine and record.agent.p50_us:
            series.setdefault(series_key(record.run, record.agent), []).append(record)
    found = [change for key, own in series.items() for change in _changes(key, own)]
    return tuple(sorted(found, key=lambda change: (not change.regression, -change.factor, change.key.agent)))


def _changes(key: SeriesKey, records: Sequence[Record]) -> Iterable[VersionChange]:
    versions: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda one: one.run.started):
        versions.setdefault(record.run.grandopt, []).append(record)
    names = list(versions)
    for before, after in pairwise(names):
        old, new = versions[before], versions[after]
        yield VersionChange(
            key=key,
            cpu_model=new[-1].run.cpu_model or "unknown processor",
            before=before,
            after=after,
            before_us=_median(old),
            after_us=_median(new),
            runs=(len(old), len(new)),
            original=_originals(old, new),
            libraries=_libraries(old[-1], new[0]),
        )


def _median(records: Sequence[Record]) -> float:
    return float(median(record.agent.p50_us for record in records if record.agent.p50_us))


def _originals(old: Sequence[Record], new: Sequence[Record]) -> float | None:
    sides = [[one.agent.original_p50_us for one in side if one.agent.original_p50_us] for side in (old, new)]
    return median(sides[1]) / median(sides[0]) if all(sides) else None


def _libraries(old: Record, new: Record) -> tuple[str, ...]:
    before, after = old.run.libraries, new.run.libraries
    return tuple(
        f"{name} {before.get(name, 'absent')} → {after.get(name, 'absent')}"
        for name in sorted({*before, *after} - {"grandopt"})
        if before.get(name) != after.get(name)
    )
