"""`grandopt benchmark --suite serving`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from grandopt.cli.commands.benchmarks.verdicts import ended, with_verdicts
from grandopt.cli.console import Terminal
from grandopt.cli.exit_codes import ExitCode
from grandopt.cli.option_groups import JobOptions
from grandopt.errors import ConfigError

if TYPE_CHECKING:
    from grandopt.config.schema import Job


def served_job(given: JobOptions, suite: str) -> Job:
    """The reference agents, with the profile that is asked for; raises ConfigError for other agents."""
    from grandopt.config.load import resolve
    from grandopt.config.schema import FileConfig

    if given.agent or given.config:
        raise ConfigError(f"--suite {suite} takes reference agents: leave --agent and --config out")
    return resolve(FileConfig(), {}, given.overrides(budget_s=None))


def benchmark_serving(
    paths: Sequence[Path],
    described: Job,
    pythons: Mapping[str, Path],
    terminal: Terminal,
    *,
    budget_s: float | None,
    strict: bool,
) -> ExitCode:
    """Show what was promised beside what was measured; FAILED when something was missed and `strict`."""
    if paths:
        raise ConfigError("--suite serving takes reference agents, those below --output first: name no paths")
    from grandopt.cli.progress import ProgressDisplay
    from grandopt.cli.render.serving import absences, serving_tables
    from grandopt.suites.serving.suite import Setup, benchmark_serving

    setup = Setup() if budget_s is None else Setup(seconds=budget_s / Setup.rounds)
    with ProgressDisplay(terminal) as display:
        found = benchmark_serving(described, setup, pythons, terminal.note, display)
    terminal.show(*serving_tables(found))
    terminal.lines(absences(found))
    terminal.document(with_verdicts(found))
    return ended(found, strict=strict)
