"""`grandopt tune`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, get_args

import typer

from grandopt.cli import options
from grandopt.cli.exit_codes import ExitCode
from grandopt.cli.importing import importing
from grandopt.cli.job import job, outcome, refuse_unreadable
from grandopt.cli.option_groups import CheckpointReading, JobOptions, Saying, with_option_groups
from grandopt.errors import ConfigError


@with_option_groups
def tune(
    checkpoints: Annotated[
        list[Path] | None, typer.Argument(metavar="CHECKPOINT", help="Files that hold trained agents.")
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option("--trials", metavar="N", help="Trials in the study.  [default: the profile's]"),
    ] = None,
    goal: Annotated[
        str,
        typer.Option("--goal", metavar="NAME", help="latency, throughput, memory or balanced."),
    ] = "latency",
    storage: options.Storage = None,
    resume: options.Resume = True,
    *,
    given: JobOptions,
    reading: CheckpointReading,
    saying: Saying,
) -> ExitCode:
    """Search engines, precisions, threads and batch sizes.

    The trials are kept: a second call goes on where the first stopped, and `grandopt optimize` uses those
    that were made for latency. Any number of machines may be called with one --storage: no choice is tried
    twice, and figures are held only against those of machines of the same kind. PostgreSQL takes
    `pip install 'grandopt[postgresql]'`; leave the password to PGPASSWORD or ~/.pgpass.

    \b
    Example:
      grandopt tune ppo-LunarLander-v2.zip --goal throughput --trials 60
      grandopt tune --agent decision_gate --threads auto
      grandopt tune --storage postgresql://fleet@db.example.org/grandopt
    """
    from grandopt.config.names import nearest
    from grandopt.config.schema import Goal

    goals: tuple[Goal, ...] = get_args(Goal)
    wanted = next((known for known in goals if known == goal), None)
    if wanted is None:
        raise ConfigError(f"unknown goal {goal!r}{nearest(goal, goals)}")
    described = job(
        checkpoints or [],
        reading,
        given.config,
        given.overrides(trials=trials, resume=resume, storage=storage),
    )
    refuse_unreadable(described)
    terminal = saying.terminal()

    with importing():
        from grandopt.cli.progress import ProgressDisplay
        from grandopt.cli.render.report import candidate_tables, trial_tables
        from grandopt.workflows.tune import Wish, tune_job

    with ProgressDisplay(terminal) as display:
        report = tune_job(described, Wish(wanted), samples=given.samples, command=sys.argv, listener=display)
    terminal.show(*trial_tables(report))
    if saying.verbose:
        terminal.show(*candidate_tables(report, terminal.out.width))
    terminal.document(report.model_dump(mode="json"))
    return outcome(report)
