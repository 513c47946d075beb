"""`grandopt benchmark --suite ray`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from grandopt.cli.commands.benchmarks.verdicts import ended, with_verdicts
from grandopt.cli.console import Terminal
from grandopt.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from grandopt.config.schema import Job


def benchmark_ray(
    paths: Sequence[Path],
    described: Job,
    pythons: Mapping[str, Path],
    terminal: Terminal,
    *,
    budget_s: float | None,
    strict: bool,
) -> ExitCode:
    """Show our replicas beside plain deployments; FAILED when something was missed and `strict`."""
    from grandopt.cli.progress import ProgressDisplay
    from grandopt.cli.render.serving import absences, serving_tables
    from grandopt.suites.ray import ROUNDS, SECONDS, benchmark_ray

    seconds = SECONDS if budget_s is None else budget_s / ROUNDS
    with ProgressDisplay(terminal) as display:
        found = benchmark_ray(paths, described, pythons, seconds, terminal.note, display)
    terminal.show(*serving_tables(found))
    terminal.lines(absences(found))
    terminal.document(with_verdicts(found))
    return ended(found, strict=strict)
