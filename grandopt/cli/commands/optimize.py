"""`grandopt optimize`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from grandopt.cli import options
from grandopt.cli.exit_codes import ExitCode
from grandopt.cli.importing import importing
from grandopt.cli.job import job, outcome, refuse_unreadable
from grandopt.cli.option_groups import CheckpointReading, JobOptions, Saying, with_option_groups


@with_option_groups
def optimize(
    checkpoints: Annotated[
        list[Path] | None,
        typer.Argument(metavar="CHECKPOINT", help="Files that hold trained agents, or folders of them."),
    ] = None,
    resume: options.Resume = True,
    strict: options.Strict = None,
    realtime: options.Realtime = False,
    storage: options.Storage = None,
    *,
    given: JobOptions,
    reading: CheckpointReading,
    saying: Saying,
) -> ExitCode:
    """Make agents fast; ship only what is proved equal and faster.

    Without CHECKPOINT: the agents of ./grandopt.yaml, else the eight built-in reference agents. Writes
    artifacts/AGENT/, reports/optimization_report.json and reports/optimization.log.

    \b
    Example:
      grandopt optimize ppo-LunarLander-v2.zip --profile aggressive
      grandopt optimize actor.pth --network my_agents:Actor --key actors.0 --input state=7
      grandopt optimize models/ other.onnx
    """
    asked = given.overrides(strict=strict, realtime=realtime, resume=resume, storage=storage)
    described = job(checkpoints or [], reading, given.config, asked)
    refuse_unreadable(described)
    terminal = saying.terminal()

    with importing():
        from grandopt.cli.progress import ProgressDisplay
        from grandopt.cli.render.report import advice_lines, candidate_tables, summary
        from grandopt.workflows.optimize import REPORT, optimize_job

    with ProgressDisplay(terminal) as display:
        report = optimize_job(described, samples=given.samples, command=sys.argv, listener=display)
    terminal.show(*summary(report, terminal.out.width))
    if saying.verbose:
        terminal.show(*candidate_tables(report, terminal.out.width))
    terminal.show(*advice_lines(report))
    terminal.document(report.model_dump(mode="json"))
    terminal.note(f"report: {described.output / REPORT}")
    return outcome(report, strict=described.strict)
