"""`grandopt benchmark --suite server`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from grandopt.cli.commands.benchmarks.verdicts import with_verdicts
from grandopt.cli.console import Terminal, complain
from grandopt.cli.exit_codes import ExitCode
from grandopt.errors import ConfigError

SECONDS = 2.0
"""Of each round of each way, without --budget."""
_WORDS = {True: "met", False: "missed", None: ""}


def benchmark_server(
    paths: Sequence[Path],
    pythons: Mapping[str, Path],
    terminal: Terminal,
    *,
    budget_s: float | None,
    strict: bool,
) -> ExitCode:
    """Show what was wanted beside what was measured; FAILED when something was missed and `strict`."""
    if len(paths) != 1:
        raise ConfigError(f"--suite server takes one artifact, got {len(paths)}")
    from grandopt.suites.server.suite import ROUNDS, benchmark_server

    seconds = SECONDS if budget_s is None else budget_s / ROUNDS
    found = benchmark_server(paths[0], pythons.get("fastapi"), seconds, terminal.note)
    rows = []
    for line in found.lines:
        sign = "≥" if line.at_least else "≤"
        wanted = "" if line.target is None else f"{sign} {line.target:g} {line.unit}  {_WORDS[line.met]}"
        rows.append(f"{line.text:<40} {line.value:>10.4g} {line.unit:<6} {wanted}".rstrip())
    terminal.lines([f"{found.agent}, {ROUNDS} rounds of {found.seconds:g} s", *rows])
    if found.reason is not None:
        terminal.lines([found.reason])
    terminal.document(with_verdicts(found))
    if not (strict and found.missed):
        return ExitCode.DONE
    for line in found.missed:
        complain(f"error: {line.text}: {line.value:.4g} {line.unit}, wanted {line.target:g}")
    return ExitCode.FAILED
