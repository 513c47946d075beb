"""`grandopt benchmark --suite loadgen`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from grandopt.cli.console import Terminal, complain
from grandopt.cli.exit_codes import ExitCode
from grandopt.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from grandopt.config.schema import Job
    from grandopt.suites.serving.mlperf import LoadgenBenchmark

SECONDS = 10.0
SHORTEST = 1.0
START = 20_000.0
"""Queries a second of the first run."""


def benchmark_loadgen(
    paths: Sequence[Path], described: Job, terminal: Terminal, *, budget_s: float | None, strict: bool
) -> ExitCode:
    """Show the highest VALID rates; FAILED when the engine's is too low and `strict`."""
    seconds = SECONDS if budget_s is None else budget_s
    if paths:
        raise ConfigError("--suite loadgen takes the decision gate, that below --output first: name no paths")
    if seconds < SHORTEST:
        raise ConfigError(f"--budget is the length of one run here, at least {SHORTEST:g} s, got {seconds:g}")
    from grandopt.cli.progress import ProgressDisplay
    from grandopt.suites.serving import mlperf

    mlperf.loadgen_version()
    with ProgressDisplay(terminal) as display:
        found = mlperf.benchmark_loadgen(described, seconds, START, terminal.note, display)
    terminal.show(_table(found))
    terminal.lines(["", *_verdict(found)])
    terminal.document({**asdict(found), "met": found.met})
    if found.met or not strict:
        return ExitCode.DONE
    complain(f"error: the engine's highest VALID rate is not {found.wanted:g} times TorchScript's")
    return ExitCode.FAILED


def _table(found: LoadgenBenchmark) -> Table:
    from rich.table import Table

    from grandopt.reporting.units import duration, rate

    table = Table("queries/s", "asked", "completed", "p99", "LoadGen says", box=None, pad_edge=False)
    for column in table.columns[1:4]:
        column.justify = "right"
    for way in found.ways:
        for place, run in enumerate(sorted(way.runs, key=lambda one: one.rate)):
            verdict = run.verdict
            table.add_row(
                "" if place else way.way,
                rate(run.rate),
                rate(verdict.completed),
                duration(1e6 * verdict.p99_s),
                "VALID" if verdict.valid else "INVALID",
            )
    return table


def _verdict(found: LoadgenBenchmark) -> list[str]:
    from grandopt.reporting.units import rate

    lines = [
        f"MLPerf LoadGen {found.version}, Server scenario, p99 limit {1e3 * found.limit_s:g} ms,",
        f"runs of {found.seconds:g} s: {found.agent} as {found.artifact}, {found.environment.cpu_model}",
    ]
    for way in found.ways:
        highest = "no rate VALID" if way.highest is None else f"{rate(way.highest)}/s VALID twice"
        lines.append(f"{way.way}: {highest}")
    if found.ratio is not None:
        word = "met" if found.met else "missed"
        lines.append(
            f"engine ({found.better}) ÷ TorchScript called directly: {found.ratio:.2f} "
            f"(wanted: {found.wanted:g}, {word})"
        )
    if found.crowded:
        lines.append("Others wanted the processors, too: these figures are of a busy machine.")
    return lines
