"""What a fleet says to people, in words: the same on a page and on a terminal."""

from __future__ import annotations

from grandopt.reporting.fleet.fleet import SERVED, Fleet, MachineKind, Shipping
from grandopt.reporting.fleet.gains import Gain
from grandopt.reporting.fleet.versions import RUNS, VersionChange
from grandopt.reporting.history.words import MACHINE_DIGITS, figure_words
from grandopt.reporting.units import duration

NOTHING = "–"
APART = (
    "A kind of machine is one architecture, processor, set of features, number of cores, quota and governor. "
    "Times are of the kind in their row and are not compared with another's; a speed-up is a paired ratio to "
    "the original on the same machine."
)


def kind_words(kind: MachineKind) -> str:
    """A kind in short: processor and the beginning of its identity."""
    return f"{kind.cpu_model} ({kind.identity[:MACHINE_DIGITS] or 'identity not told'})"


def head(fleet: Fleet) -> str:
    """What there is."""
    regressions = sum(change.regression for change in fleet.changes)
    return ", ".join(
        (
            _number(len(fleet.agents), "agent"),
            f"{_number(len(fleet.kinds), 'kind')} of machine",
            _number(len(fleet.sources), "source"),
            _number(regressions, "regression"),
        )
    )


def kind_cells(kind: MachineKind) -> tuple[str, str, str, str]:
    """Runs, newest, versions, sources."""
    return (
        _number(kind.runs, "run"),
        kind.newest[:10] or NOTHING,
        ", ".join(kind.versions),
        _number(len(kind.places), "source"),
    )


def shipping_cells(shipping: Shipping) -> tuple[str, str, str, str, str]:
    """Engine, p50 of the original, p50, speed-up, verdict."""
    agent, run = shipping.agent, shipping.record.run
    engine = NOTHING if agent.engine is None else f"{agent.engine} {agent.precision}"
    unsteady = "~" if agent.stable is False else ""
    told = "told by its server" if run.kind == SERVED else f"{run.started[:10]}, grandopt {run.grandopt}"
    kind = "" if run.kind in ("optimize", SERVED) else f"{run.kind}, nothing shipped; "
    unfinished = "; the run was interrupted" if run.status == "partial" else ""
    return (
        engine,
        NOTHING if agent.original_p50_us is None else duration(agent.original_p50_us),
        NOTHING if agent.p50_us is None else unsteady + duration(agent.p50_us),
        speedup_words(shipping),
        f"{agent.status} ({kind}{told}{unfinished})",
    )


def speedup_words(shipping: Shipping) -> str:
    """A speed-up with its interval."""
    agent = shipping.agent
    if agent.speedup is None:
        return NOTHING
    if agent.speedup_low is None or agent.speedup_high is None:
        return f"{agent.speedup:.3g}×"
    return f"{agent.speedup:.3g}× ({agent.speedup_low:.3g}–{agent.speedup_high:.3g})"


def change_words(change: VersionChange) -> str:
    """A change from version to version in one line."""
    key = change.key
    threads = f", threads {key.threads}" if key.threads != "1" else ""
    line = (
        f"{key.agent} ({key.kind}{threads}) on {change.cpu_model} ({key.machine[:MACHINE_DIGITS]}): grandopt "
        f"{change.before} → {change.after}: p50 {duration(change.before_us)} → {duration(change.after_us)} "
        f"({figure_words(change.factor)}; {change.runs[0]} and {_number(change.runs[1], 'run')})"
    )
    if change.original is not None:
        line += f"; the original's {figure_words(change.original)}"
    if change.libraries:
        line += f"; also {', '.join(change.libraries)}"
    if change.hint:
        line += f"; a hint only: fewer than {RUNS} runs of a version"
    return line


def gain_words(gain: Gain) -> str:
    """What a kind of machine would gain, in one line."""
    factors = ", ".join(f"{value:.3g}×" for value in gain.speedups)
    return f"{gain.agent}: {gain.why} ({factors}); run `grandopt optimize` there"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
