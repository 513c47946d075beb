"""`grandopt compare`: the regression gate."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from grandopt.cli import options
from grandopt.cli.commands.benchmark import BUDGET_S
from grandopt.cli.exit_codes import ExitCode
from grandopt.cli.job import job
from grandopt.cli.option_groups import CheckpointReading, JobOptions, Saying, with_option_groups
from grandopt.errors import ConfigError

if TYPE_CHECKING:
    from grandopt.config.gate import GateConfig
    from grandopt.config.schema import Job
    from grandopt.measurement.compare.comparison import Plan
    from grandopt.reporting.gate.result import GateReport

WORK = Path(".grandopt/compare")
"""Where checkpoints are optimized; what was built stays there for the next time."""

SUMMARY = "GITHUB_STEP_SUMMARY"
"""The file that GitHub shows as the summary of a job's step, named in its environment."""


@with_option_groups
def compare(
    baseline: Annotated[
        str, typer.Argument(metavar="BASELINE", help="Artifact(s), checkpoint, report, or saved baseline.")
    ],
    candidate: Annotated[
        str, typer.Argument(metavar="CANDIDATE", help="What is held against it, of the same kind.")
    ],
    max_regression: Annotated[
        str | None,
        typer.Option(
            "--max-regression",
            metavar="PERCENT",
            help="By how much a median latency may grow.  [default: 5%]",
        ),
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            "--limit",
            metavar="[AGENT:]FIGURE=PERCENT",
            help="Limit of p50, p99, memory, size, accuracy, cold_start or instructions. May be repeated.",
        ),
    ] = None,
    agent: options.Agents = None,
    instructions: Annotated[
        bool,
        typer.Option("--instructions", help="Also count instructions, with perf or valgrind (slow)."),
    ] = False,
    new_weights: Annotated[
        bool,
        typer.Option("--new-weights", help="The candidate was trained anew: do not compare the answers."),
    ] = False,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML for a CI server.")
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(
            "--markdown",
            metavar="FILE",
            help="Write Markdown; a GitHub job's summary gets it without being asked.",
        ),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option("--processes", metavar="N", help="Most processes for each agent.  [default: 20]"),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            "--budget",
            metavar="SECONDS",
            help="Time for each agent.  [default: 15, or none with --processes]",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option("--threads", metavar="N", help="Threads of one call.  [default: the artifacts']"),
    ] = None,
    samples: options.Samples = None,
    config: options.Config = None,
    profile: options.Profile = None,
    seed: options.Seed = None,
    require_signature: options.RequireSignature = None,
    *,
    reading: CheckpointReading,
    saying: Saying,
) -> ExitCode:
    """Hold a candidate against a baseline: pass, regression (exit 1), or inconclusive (exit 3).

    Artifacts, folders of them, and baselines of `grandopt baseline save` are measured again, side by side
    over fresh processes, until the change lies on one side of its limit for sure (an error of 1 %).
    Checkpoints are optimized first. Reports are only read, and must be from one machine. Gated are the median
    latency and the answers, which builds of the same weights have in common; the rest with --limit, or
    `compare:` in grandopt.yaml. What has a limit and cannot be compared is inconclusive.

    \b
    Example:
      grandopt compare main artifacts --junit gate.xml
      grandopt compare old/artifacts/gate artifacts/gate --max-regression 3%
      grandopt compare old.zip new.zip --limit p99=20% --limit memory=10%
      grandopt compare monday.json tuesday.json
    """
    from grandopt.cli.progress import ProgressDisplay
    from grandopt.cli.render.gate import gate_tables
    from grandopt.workflows.gate.compare import Gate, compare_job

    terminal = saying.terminal()
    overrides = JobOptions(profile=profile, seed=seed, budget=BUDGET_S, output=WORK).overrides()

    def make_job(path: Path) -> Job:
        return job([path], reading, overrides=overrides)

    gate = Gate(
        config=_limits(config, max_regression, limit),
        plan=_plan(processes, budget, seed),
        agents=tuple(agent or ()),
        threads=threads,
        trust=reading.trust,
        samples=samples,
        instructions=instructions,
        new_weights=new_weights,
        signed_only=require_signature is not None,
        make_job=make_job,
    )
    with ProgressDisplay(terminal) as display:
        found = compare_job(baseline, candidate, gate, command=sys.argv, listener=display)
    terminal.show(*gate_tables(found))
    terminal.document(found.model_dump(mode="json"))
    _write(found, junit, markdown)
    match found.outcome:
        case "pass":
            return ExitCode.DONE
        case "regression":
            return ExitCode.FAILED
        case "inconclusive":
            return ExitCode.INCONCLUSIVE


def _limits(config: Path | None, max_regression: str | None, texts: list[str] | None) -> GateConfig:
    """The command line's limits over those of the file."""
    from grandopt.config.gate import parse_limits
    from grandopt.config.load import DEFAULT_FILE, load_file

    said = parse_limits(max_regression, texts)
    if config is None and not DEFAULT_FILE.is_file():
        return said
    return said.over(load_file(config or DEFAULT_FILE).compare)


def _plan(processes: int | None, budget: float | None, seed: int | None) -> Plan:
    """What is not said is the plan's own; who asks for processes gets them, however long they take."""
    from grandopt.errors import MeasurementError
    from grandopt.measurement.compare.comparison import UNLIMITED_S, Plan

    default = Plan()
    unsaid = default.budget_s if processes is None else UNLIMITED_S
    try:
        return Plan(
            processes=default.processes if processes is None else processes,
            budget_s=unsaid if budget is None else budget,
            seed=seed or 0,
        )
    except MeasurementError as error:
        raise ConfigError(str(error)) from error


def _write(found: GateReport, junit: Path | None, markdown: Path | None) -> None:
    from grandopt.reporting.gate.junit import write_junit
    from grandopt.reporting.gate.markdown import append_markdown, write_markdown

    if junit is not None:
        write_junit(found, junit)
    if markdown is not None:
        write_markdown(found, markdown)
    summary = os.environ.get(SUMMARY)
    if summary:
        append_markdown(found, Path(summary))
