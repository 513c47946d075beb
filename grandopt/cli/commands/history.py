"""`grandopt report history`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from grandopt.cli.console import Terminal
from grandopt.cli.options import Json, Quiet, Verbose
from grandopt.errors import ConfigError, HistoryError

if TYPE_CHECKING:
    from grandopt.reporting.history.records import Record

DEFAULT = Path("reports/history.sqlite")
STDOUT = Path("-")
HERE = "here"
SHOWN = 20
"""Runs of a series on the terminal, the newest; all of them with -v."""


def history(
    file: Annotated[
        Path, typer.Argument(metavar="HISTORY.sqlite", help="A history that grandopt keeps.")
    ] = DEFAULT,
    agent: Annotated[
        list[str] | None, typer.Option("--agent", metavar="NAME", help="Only this agent. May be repeated.")
    ] = None,
    machine: Annotated[
        str | None,
        typer.Option(
            "--machine",
            metavar="ID|here",
            help="Only the machine whose identity begins so, or this one.  [default: all, each by itself]",
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option("--kind", metavar="NAME", help="Only runs of optimize, benchmark or tune."),
    ] = None,
    figure: Annotated[
        str,
        typer.Option(
            "--figure",
            metavar="NAME",
            help="Whose changes to mark: p50, p99, throughput, speedup, memory, size or start.",
        ),
    ] = "p50",
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE|-", help="Write the records as CSV instead.")
    ] = None,
    jsonl: Annotated[
        Path | None,
        typer.Option("--jsonl", metavar="FILE|-", help="Write the records as JSON lines instead."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show agents over time, machine by machine, with the places marked where a figure changed.

    Every run of optimize, benchmark and tune adds to reports/history.sqlite of its output folder. A mark
    says that the figures before and after differ by more than chance (E-divisive, permutation test at 1 %);
    it takes 12 runs to look for one. Shows the newest 20 runs, with -v all.

    \b
    Example:
      grandopt report history --agent decision_gate --machine here
      grandopt report history --figure memory --csv memory.csv
    """
    from grandopt.config.names import nearest
    from grandopt.reporting.history import export
    from grandopt.reporting.history.series import FIGURES, all_series
    from grandopt.reporting.history.store import read

    if figure not in FIGURES:
        raise ConfigError(f"unknown figure {figure!r}{nearest(figure, FIGURES)}")
    if kind not in (None, "optimize", "benchmark", "tune"):
        raise ConfigError(f"--kind must be optimize, benchmark or tune, got {kind!r}")
    if [csv, jsonl, STDOUT if json else None].count(STDOUT) > 1:
        raise ConfigError("only one of --csv -, --jsonl - and --json can go to stdout")
    found = all_series(_wanted(read(file), file, agent or (), machine, kind), figure)
    terminal = Terminal(as_json=json, quiet=quiet, verbose=verbose)
    written = {
        name: str(_write(target, text(found), terminal))
        for name, target, text in (("csv", csv, export.to_csv), ("jsonl", jsonl, export.to_jsonl))
        if target is not None
    }
    if json:
        terminal.document({"history": str(file), **written, "series": export.to_json(found)})
    elif written:
        terminal.lines(place for place in written.values() if place != str(STDOUT))
    else:
        from grandopt.cli.render.history import history_tables

        terminal.show(*history_tables(found, shown=None if verbose else SHOWN))


def _wanted(
    records: Sequence[Record], file: Path, agents: Sequence[str], machine: str | None, kind: str | None
) -> list[Record]:
    """The records that are asked for; raises ConfigError or HistoryError where there are none."""
    from grandopt.config.names import nearest

    if not records:
        raise HistoryError(f"{file}: the history is empty; the next run of `grandopt optimize` begins it")
    known = {record.agent.agent for record in records}
    for name in agents:
        if name not in known:
            raise ConfigError(f"no run of agent {name!r} in {file}{nearest(name, known)}")
    machines = sorted({record.run.machine for record in records})
    chosen = _machines(machines, machine)
    found = [
        record
        for record in records
        if (not agents or record.agent.agent in agents)
        and record.run.machine in chosen
        and kind in (None, record.run.kind)
    ]
    if not found:
        raise ConfigError(f"{file}: holds no such run; leave out --agent, --machine or --kind to see all")
    return found


def _machines(known: Sequence[str], wanted: str | None) -> Sequence[str]:
    if wanted is None:
        return known
    if wanted == HERE:
        from grandopt.measurement.environment import environment

        wanted = environment().identity
    found = [identity for identity in known if identity.startswith(wanted)]
    if not found:
        shown = ", ".join(identity[:8] or "unknown" for identity in known)
        raise ConfigError(f"no run of machine {wanted[:16]!r} in the history; it knows {shown}")
    if len(found) > 1 and wanted not in found:
        raise ConfigError(f"--machine {wanted!r} is the beginning of {len(found)} machines; give more of it")
    return found


def _write(target: Path, text: str, terminal: Terminal) -> Path:
    from grandopt.reporting.atomic_write import write_text_atomically

    if target == STDOUT:
        terminal.raw(text)
    else:
        write_text_atomically(target, text)
    return target
