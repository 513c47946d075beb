"""`grandopt plan`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from grandopt.cli.console import Terminal, complain
from grandopt.cli.exit_codes import ExitCode
from grandopt.cli.options import Json, Quiet, RequireSignature, Verbose
from grandopt.cli.quantities import parse_time_ms, positive
from grandopt.errors import ConfigError

if TYPE_CHECKING:
    from grandopt.signature import Array

MOST_QPS = 1e12
MOST_CORES = 4096
MOST_MACHINES = 10_000_000


def plan(
    artifact: Annotated[Path, typer.Argument(metavar="ARTIFACT", help="What is to be served.")],
    p99: Annotated[
        str, typer.Option("--p99", metavar="TIME", help="99 % are answered within: 500us, 2ms, 1s.")
    ],
    qps: Annotated[
        float | None,
        typer.Option("--qps", metavar="N", help="Requests a second on average; 1e6 for a million."),
    ] = None,
    cores: Annotated[
        int | None,
        typer.Option("--cores", metavar="N", help="Of each machine.  [default: those of this one]"),
    ] = None,
    machines: Annotated[
        int | None,
        typer.Option("--machines", metavar="N", help="How many there are: exit code 1 if too few."),
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option("--trace", metavar="FILE", help="Recorded arrival times instead of a Poisson process."),
    ] = None,
    deadline: Annotated[
        str | None, typer.Option("--deadline", metavar="TIME", help="Also say what share would miss this.")
    ] = None,
    transport_us: Annotated[
        float,
        typer.Option("--transport-us", metavar="µs", help="What the transport adds to a request's cost."),
    ] = 0.0,
    workers: Annotated[
        int | None,
        typer.Option("--workers", metavar="N", help="Of a replica that computes on threads or processes."),
    ] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", "-p", help="Of the engine: basic, standard, … or maximum.")
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Find by load what a replica carries, and compare (a minute or two)."),
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of arrivals and observations.")] = 0,
    trust: Annotated[
        bool, typer.Option("--trust", help="Load an artifact whose engine runs code of its files.")
    ] = False,
    require_signature: RequireSignature = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> ExitCode:
    """Say how many replicas and machines a load takes, by formula and by simulation.

    Measures for some seconds what requests cost through an engine that serves the artifact here, with their
    callers in the same process, and how fast the machine goes meanwhile. A replica is such a process; other
    machines are taken to be as fast as this one. Exit code 1 where the limit cannot be met, or --check finds
    more than 15 % between plan and load, 3 where it does and the machine was busy with something else.

    \b
    Example:
      grandopt plan artifacts/gate --qps 1e6 --p99 5ms --cores 8
      grandopt plan artifacts/gate --trace arrivals.csv --p99 5ms --machines 2
      grandopt plan artifacts/gate --qps 1e6 --p99 8ms --check
    """
    terminal = Terminal(as_json=json, quiet=quiet, verbose=verbose)
    p99_ms = parse_time_ms("--p99", p99)
    deadline_ms = None if deadline is None else parse_time_ms("--deadline", deadline)
    for option, value, most in (
        ("--qps", qps, MOST_QPS),
        ("--cores", cores, MOST_CORES),
        ("--machines", machines, MOST_MACHINES),
        ("--workers", workers, MOST_CORES),
    ):
        if value is not None:
            positive(option, value, most)
    if transport_us < 0 or transport_us > 1e6:
        raise ConfigError(f"--transport-us must be from 0 to 1,000,000, got {transport_us:g}")
    if seed < 0:
        raise ConfigError(f"--seed must be at least 0, got {seed}")
    from grandopt.config.names import DEFAULT_PROFILE

    chosen = profile or DEFAULT_PROFILE
    if check:
        _not_for_check(
            {
                "--trace": trace,
                "--deadline": deadline,
                "--machines": machines,
                "--workers": workers,
                "--cores": cores,
                "--transport-us": transport_us or None,
            }
        )
        return _check(artifact, chosen, _needed(qps), p99_ms, seed, terminal, trust=trust)
    due_ns, rate = _arrivals(trace, qps)

    from grandopt.cli.render.plan import impossible_words, plan_document, plan_tables
    from grandopt.distributed.plan.measuring import measure_replica
    from grandopt.distributed.plan.plan import Demand, Impossible, make_plan
    from grandopt.measurement.load import timing
    from grandopt.runtime.scheduling.workers.affinity import usable_cores

    replica = timing.run(
        measure_replica(artifact, chosen, trust=trust, concurrency=workers, seed=seed, tell=terminal.note)
    ).with_transport(1e3 * transport_us)
    demand = Demand(rate, p99_ms, cores or usable_cores(), machines, deadline_ms, due_ns)
    terminal.note("simulating")
    found = make_plan(demand, replica, seed)
    terminal.document(plan_document(found))
    if isinstance(found, Impossible):
        complain(f"error: {impossible_words(found)}")
        return ExitCode.FAILED
    terminal.show(*plan_tables(found))
    return ExitCode.DONE if found.met else ExitCode.FAILED


def _arrivals(trace: Path | None, qps: float | None) -> tuple[Array | None, float]:
    """Recorded arrivals, and requests a second on average."""
    if trace is None:
        return None, _needed(qps)
    from grandopt.distributed.plan.recorded import scaled
    from grandopt.measurement.load.arrivals import read_arrivals

    return scaled(read_arrivals(trace), qps)


def _needed(qps: float | None) -> float:
    if qps is None:
        raise ConfigError(
            "say how many requests a second come with --qps N, or give their times with --trace"
        )
    return qps


def _not_for_check(given: dict[str, object]) -> None:
    """Raise ConfigError for an option that a check has no use for."""
    for name, value in given.items():
        if value is not None:
            raise ConfigError(
                f"{name} says nothing about one replica on this machine; leave it out with --check"
            )


def _check(
    artifact: Path,
    profile: str,
    qps: float,
    p99_ms: float,
    seed: int,
    terminal: Terminal,
    *,
    trust: bool,
) -> ExitCode:
    from grandopt.cli.render.plan import check_document, check_tables
    from grandopt.distributed.plan.checking import check_plan
    from grandopt.measurement.load import timing

    found = timing.run(
        check_plan(artifact, profile, qps=qps, p99_ms=p99_ms, trust=trust, seed=seed, tell=terminal.note)
    )
    terminal.document(check_document(found))
    terminal.show(*check_tables(found))
    if found.holds:
        return ExitCode.DONE
    if found.busy:
        complain("warning: this machine did something else meanwhile; check again when it is idle")
        return ExitCode.INCONCLUSIVE
    return ExitCode.FAILED
