"""`grandopt benchmark`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from grandopt.cli import options
from grandopt.cli.exit_codes import ExitCode
from grandopt.cli.external_engines import (
    Batches,
    ExternalEngines,
    parse_batches,
    parse_external_engines,
    split_engines,
)
from grandopt.cli.importing import importing
from grandopt.cli.job import job, outcome, refuse_unreadable
from grandopt.cli.option_groups import (
    CheckpointReading,
    JobOptions,
    LoadOptions,
    Saying,
    with_option_groups,
)
from grandopt.errors import ConfigError

if TYPE_CHECKING:
    from grandopt.cli.console import Terminal
    from grandopt.config.schema import Job

BUDGET_S = 300.0
"""That of the profile "maximum": here the comparison counts, and not when it is ready."""
BATCH = "32"
TAKES: dict[str, tuple[str, ...]] = {
    "agents": (
        "--budget",
        "--operators",
        "--batch",
        "--run-into",
        "--rival",
        "--require-signature",
        "--store",
    ),
    "artifacts": ("--budget", "--require-signature"),
    "cache": ("--budget",),
    "memory": (),
    "residence": ("--budget",),
    "serving": ("--budget", "--rival", "--strict"),
    "loadgen": ("--budget", "--strict"),
    "server": ("--budget", "--rival", "--strict", "--require-signature"),
    "ray": ("--budget", "--rival", "--strict"),
    "load": ("--require-signature",),
}
"""Which of its own options each benchmark knows what to do with; the others are refused."""


@with_option_groups
def benchmark(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="ARTIFACT|CHECKPOINT|TRACE",
            help="Artifacts to compare, agents to race, or traces to replay (FILE or FILE@ENTRIES).",
        ),
    ] = None,
    suite: Annotated[
        Literal["agents", "cache", "memory", "residence", "serving", "loadgen", "server", "ray"],
        typer.Option(
            "--suite",
            help="Engines; cache; pools and collector; memory of all agents; the engine; LoadGen; "
            "server; Ray Serve.",
        ),
    ] = "agents",
    budget: Annotated[
        float | None,
        typer.Option(
            "--budget",
            metavar="SECONDS",
            help="To build each agent's candidates (300); for the cache's look-ups (5); for each way of "
            "serving (6); for each run of LoadGen (10); for each way to ask a server (10), or Ray Serve (6).",
        ),
    ] = None,
    operators: Annotated[
        bool,
        typer.Option("--operators", help="Also show where the time of the original and the fastest goes."),
    ] = False,
    batch: Batches = BATCH,
    run_into: Annotated[
        bool, typer.Option("--run-into", help="Call every engine through run_into instead of run.")
    ] = False,
    external_engine: ExternalEngines = None,
    require_signature: options.RequireSignature = None,
    strict: options.Strict = None,
    *,
    given: JobOptions,
    reading: CheckpointReading,
    loading: LoadOptions,
    saying: Saying,
) -> ExitCode:
    """Measure every engine side by side; nothing is shipped.

    Checkpoints (or, without any, the agents of ./grandopt.yaml or the reference agents) are built with every
    engine, verified and measured in full beside the original and beside engines that are not shipped:
    torch.compile, ONNX Runtime's plain run, and ExecuTorch, LiteRT and MNN where --rival says where they are.
    Agents named null and nature_cnn are networks to compare engines with. Artifacts are measured beside each
    other. The suite residence takes what optimize shipped, and shows the memory of one process that serves
    all agents.

    The suite cache shows what look-ups cost beside other caches that are installed (cachetools, cachebox,
    theine), and the hit ratios of the eviction policies on traces.

    The suite serving serves two reference agents through the engine, and shows what was promised of it beside
    what was measured; other ways of serving take part, batched and Ray Serve where --rival says where they
    are. It ends with a minute of more load than the engine can bear, for each agent. The suite loadgen
    searches the highest rate that MLPerf LoadGen finds valid (Server scenario), for TorchScript and for the
    engine. The suite server asks `grandopt serve` of one artifact over the network, beside FastAPI where
    --rival says where it is. The suite ray serves the decision gate on Ray Serve, with our replicas and as a
    plain deployment, where --rival says where ray is. With --strict, a target that is missed ends in exit
    code 1.

    \b
    Example:
      grandopt benchmark ppo-LunarLander-v2.zip --operators
      grandopt benchmark --agent null --run-into
      grandopt benchmark --agent nature_cnn --rival litert=litert/bin/python
      grandopt benchmark artifacts/gate other/artifacts/gate
      grandopt benchmark --suite cache OLTP.lis.zst@1000 gli.trace.gz
      grandopt benchmark --suite memory
      grandopt benchmark --suite residence
      grandopt benchmark --suite serving --rival batched=batched/bin/python
      grandopt benchmark --suite server artifacts/gate --rival fastapi=fastapi/bin/python
      grandopt benchmark --suite ray artifacts/decision_gate --rival ray=ray/bin/python
      grandopt benchmark --load artifacts/gate --deadline-ms 1
    """
    terminal = saying.terminal()
    named = {
        "--budget": budget is not None,
        "--operators": operators,
        "--batch": batch != BATCH,
        "--run-into": run_into,
        "--rival": bool(external_engine),
        "--strict": bool(strict),
        "--require-signature": require_signature is not None,
        "--store": given.store is not None,
    }
    loads = loading.asked(suite)
    _refuse_unused("load" if loads else suite, named)
    if loads:
        from grandopt.cli.commands.benchmarks.load import benchmark_load

        return benchmark_load(paths or [], given, reading, loading, terminal)
    if suite == "cache":
        from grandopt.cli.commands.benchmarks.cache import benchmark_cache

        benchmark_cache([str(path) for path in paths or []], terminal, budget)
        return ExitCode.DONE
    if suite == "memory":
        from grandopt.cli.commands.benchmarks.memory import benchmark_memory

        benchmark_memory(paths or [], terminal, trust=reading.trust, seed=given.seed)
        return ExitCode.DONE
    engines, external_engines = split_engines(given.engine)
    overrides = replace(given, engine=engines).overrides(
        budget_s=BUDGET_S if budget is None else budget, external_engines=True
    )
    if suite == "residence":
        from grandopt.cli.commands.benchmarks.residence import benchmark_residence

        if paths:
            raise ConfigError("--suite residence serves what optimize shipped below --output: name no paths")
        return benchmark_residence(job([], reading, given.config, overrides), terminal)
    if suite == "server":
        from grandopt.cli.commands.benchmarks.server import benchmark_server

        return benchmark_server(
            paths or [],
            parse_external_engines(external_engine),
            terminal,
            budget_s=budget,
            strict=bool(strict),
        )
    if suite == "ray":
        from grandopt.cli.commands.benchmarks.ray import benchmark_ray
        from grandopt.cli.commands.benchmarks.serving import served_job

        return benchmark_ray(
            paths or [],
            served_job(given, suite),
            parse_external_engines(external_engine),
            terminal,
            budget_s=budget,
            strict=bool(strict),
        )
    if suite == "serving" or suite == "loadgen":
        return _served(suite, paths or [], given, external_engine, terminal, budget, bool(strict))
    pythons, batches = parse_external_engines(external_engine), parse_batches(batch)

    from grandopt.cli.progress import ProgressDisplay
    from grandopt.cli.render.benchmark import benchmark_tables
    from grandopt.cli.render.operators import operator_tables
    from grandopt.cli.render.report import candidate_tables

    artifacts = _artifacts(paths or [])
    if artifacts:
        _refuse_unused("artifacts", named)
    elif require_signature is not None:
        raise ConfigError("--require-signature: only artifacts are signed; name artifacts, or leave it out")
    with ProgressDisplay(terminal) as display:
        if artifacts:
            from grandopt.workflows.benchmark.artifacts import benchmark_artifacts

            described = job([], config=given.config, overrides=overrides)
            report = benchmark_artifacts(
                described,
                artifacts,
                trust=reading.trust,
                samples=given.samples,
                command=sys.argv,
                listener=display,
            )
        else:
            with importing():
                from grandopt.workflows.benchmark.benchmark import Benchmark, benchmark_job

            described = _without_engines(job(paths or [], reading, given.config, overrides), engines)
            refuse_unreadable(described)
            wanted = Benchmark(batches, run_into, operators, external_engines, pythons)
            report = benchmark_job(
                described, wanted, samples=given.samples, command=sys.argv, listener=display
            )
    terminal.show(*(candidate_tables(report, terminal.out.width) if artifacts else benchmark_tables(report)))
    terminal.show(*operator_tables(report))
    terminal.document(report.model_dump(mode="json"))
    return outcome(report)


def _refuse_unused(benchmark: str, named: Mapping[str, bool]) -> None:
    """Raise ConfigError for an option that would be ignored."""
    unused = [option for option, given in named.items() if given and option not in TAKES[benchmark]]
    if unused:
        what = {"load": "--load", "artifacts": "comparing artifacts"}.get(benchmark, f"--suite {benchmark}")
        known = ", ".join(TAKES[benchmark]) or "none of these"
        raise ConfigError(f"{', '.join(unused)}: not for {what}, which takes {known}")


def _served(
    suite: Literal["serving", "loadgen"],
    paths: list[Path],
    given: JobOptions,
    external_engine: list[str] | None,
    terminal: Terminal,
    budget_s: float | None,
    strict: bool,
) -> ExitCode:
    """The suites that serve reference agents through the engine."""
    from grandopt.cli.commands.benchmarks.loadgen import benchmark_loadgen
    from grandopt.cli.commands.benchmarks.serving import benchmark_serving, served_job

    described = served_job(given, suite)
    if suite == "loadgen":
        return benchmark_loadgen(paths, described, terminal, budget_s=budget_s, strict=strict)
    pythons = parse_external_engines(external_engine)
    return benchmark_serving(paths, described, pythons, terminal, budget_s=budget_s, strict=strict)


def _artifacts(paths: list[Path]) -> list[Path]:
    """The paths if they are artifacts, none if they are checkpoints; raises ConfigError for a mixture."""
    from grandopt.artifacts.artifact import is_artifact

    artifacts = [path for path in paths if is_artifact(path)]
    if artifacts and len(artifacts) < len(paths):
        raise ConfigError("artifacts and checkpoints cannot be mixed: name only one kind")
    return artifacts


def _without_engines(described: Job, engines: list[str] | None) -> Job:
    """The job, with no engine of its own where only external engines were named."""
    if engines != []:
        return described
    profile = described.profile.model_copy(update={"engines": ()})
    return described.model_copy(update={"profile": profile})
