"""`grandopt optimize`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from grandopt.cli import options
from grandopt.cli.console import Terminal
from grandopt.cli.exit_codes import ExitCode
from grandopt.cli.job import Reading, Settings, job, outcome


def optimize(
    checkpoints: Annotated[
        list[Path] | None, typer.Argument(metavar="CHECKPOINT", help="Files that hold trained agents.")
    ] = None,
    config: options.Config = None,
    agent: options.Agents = None,
    profile: options.Profile = None,
    output: options.Output = None,
    samples: options.Samples = None,
    engine: options.Engines = None,
    precision: options.Precisions = None,
    threads: options.Threads = None,
    budget: options.Budget = None,
    resume: options.Resume = True,
    strict: options.Strict = None,
    seed: options.Seed = None,
    key: options.Key = None,
    network: options.Network = None,
    input: options.Inputs = None,
    vecnormalize: options.VecNormalize = "auto",
    trust: options.Trust = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> ExitCode:
    """Make agents fast; ship only what is proved equal and faster.

    Without CHECKPOINT: the agents of ./grandopt.yaml, else the eight built-in reference agents. Writes
    artifacts/AGENT/, reports/optimization_report.json and reports/optimization.log.

    \b
    Example:
      grandopt optimize ppo-LunarLander-v2.zip --profile aggressive
      grandopt optimize actor.pth --network my_agents:Actor --key actors.0 --input state=7
    """
    described = job(
        checkpoints or [],
        Reading(key, network, input, vecnormalize, trust),
        Settings(
            config,
            profile,
            agent,
            engine,
            precision,
            threads,
            budget,
            None,
            seed,
            output,
            strict,
            resume,
        ),
    )
    terminal = Terminal(as_json=json, quiet=quiet, verbose=verbose)

    from grandopt.cli.progress import ProgressDisplay
    from grandopt.cli.render import candidate_tables, summary
    from grandopt.workflows.optimize import REPORT, optimize_job

    with ProgressDisplay(terminal) as display:
        report = optimize_job(described, samples=samples, command=sys.argv, listener=display)
    terminal.show(*summary(report, terminal.out.width))
    if verbose:
        terminal.show(*candidate_tables(report, terminal.out.width))
    terminal.document(report.model_dump(mode="json"))
    terminal.note(f"report: {described.output / REPORT}")
    return outcome(report, strict=described.strict)
