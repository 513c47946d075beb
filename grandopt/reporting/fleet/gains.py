"""What a kind of machine would gain from what is known of it, or of others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from grandopt.reporting.history.records import Record

WORTH = 1.10
"""A gain below that is not named."""


@dataclass(frozen=True)
class Gain:
    """Something to do for an agent on a kind of machine (`machine`, `cpu_model`), and why.

    `speedups` are those of others against their own originals, or of this kind's best run: what was measured
    there, and no promise for here.
    """

    machine: str
    cpu_model: str
    agent: str
    why: str
    speedups: tuple[float, ...]


def gains(records: Sequence[Record]) -> tuple[Gain, ...]:
    """For each kind of machine the agents that it has not optimized while others have, those of which an
    earlier run here was faster, and those that were last optimized by an older version than elsewhere."""
    runs = [record for record in records if record.run.kind == "optimize" and record.run.machine]
    machines = dict.fromkeys(record.run.machine for record in records if record.run.machine)
    return tuple(gain for machine in machines for gain in _of(machine, records, runs))


def _of(machine: str, records: Sequence[Record], runs: Sequence[Record]) -> Iterator[Gain]:
    model = next(
        record.run.cpu_model or "unknown processor" for record in records if record.run.machine == machine
    )
    for name in sorted({record.agent.agent for record in runs}):
        own = [one for one in runs if one.agent.agent == name and one.run.machine == machine]
        others = _newest_elsewhere(name, machine, runs)
        found = _found(own, others)
        if found is not None:
            yield Gain(machine, model, name, *found)


def _found(own: Sequence[Record], others: Sequence[Record]) -> tuple[str, tuple[float, ...]] | None:
    """Why there is something to gain, and the speed-ups that say so."""
    gained = [one.agent.speedup for one in others if one.agent.speedup and one.agent.speedup >= WORTH]
    speedups = tuple(sorted(gained, reverse=True))
    if not own:
        return ("was not optimized on this kind; it was on others", speedups) if speedups else None
    last = max(own, key=lambda record: record.run.started)
    if last.agent.status != "optimized":
        return (f"{last.agent.status} here, while others gained", speedups) if speedups else None
    best = min(
        (one for one in own if one.agent.p50_us), key=lambda one: one.agent.p50_us or 0.0, default=None
    )
    if best is not None and best is not last and last.agent.p50_us and best.agent.p50_us:
        factor = last.agent.p50_us / best.agent.p50_us / _machine_drift(best, last)
        if factor >= WORTH:
            text = f"its run of {best.run.started[:10]} on this kind was faster than its last one"
            return text, (factor,)
    newer = [one for one in others if _version(one.run.grandopt) > _version(last.run.grandopt)]
    better = [
        one.agent.speedup
        for one in newer
        if one.agent.speedup and one.agent.speedup >= WORTH * (last.agent.speedup or 1.0)
    ]
    if better:
        version = max((one.run.grandopt for one in newer), key=_version)
        return (
            f"was last optimized by {last.run.grandopt} here; {version} reached a larger speed-up elsewhere",
            tuple(sorted(better, reverse=True)),
        )
    return None


def _machine_drift(before: Record, after: Record) -> float:
    """By which factor the original slowed down from one run to the other, at least 1."""
    old, new = before.agent.original_p50_us, after.agent.original_p50_us
    return max(1.0, new / old) if old and new else 1.0


def _newest_elsewhere(name: str, machine: str, runs: Sequence[Record]) -> list[Record]:
    last: dict[str, Record] = {}
    for record in sorted(runs, key=lambda one: one.run.started):
        if record.agent.agent == name and record.run.machine != machine:
            last[record.run.machine] = record
    return list(last.values())


def _version(text: str) -> tuple[int, ...]:
    """Of a version its numbers, to be compared."""
    return tuple(int(part) for part in text.split(".") if part.isdecimal())
