"""`grandopt benchmark --load`."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from grandopt.cli.console import Terminal
from grandopt.cli.exit_codes import ExitCode
from grandopt.cli.job import job, outcome
from grandopt.cli.option_groups import CheckpointReading, JobOptions, LoadOptions
from grandopt.errors import ConfigError

if TYPE_CHECKING:
    from grandopt.config.schema import Job
    from grandopt.workflows.benchmark.load import LoadPlan


LIMITS = {
    "--rate": (1e-3, 10_000_000),
    "--callers": (1, 100_000),
    "--deadline-ms": (1e-6, 3_600_000),
    "--seconds": (1e-3, 86_400),
}
"""What can be measured: a callers' task takes some kilobytes, and a day is long enough for one point."""


def benchmark_load(
    paths: Sequence[Path],
    given: JobOptions,
    reading: CheckpointReading,
    loading: LoadOptions,
    terminal: Terminal,
) -> ExitCode:
    """Serve artifacts under load, and show the latency over the rates.

    Raises ConfigError for options that do not fit together, and for paths that are no artifacts.
    """
    _check(loading)
    described = job([], config=given.config, overrides=given.overrides())
    artifacts = _artifacts(paths, described)
    plan = load_plan(loading, given.seed or 0)

    from grandopt.cli.progress import ProgressDisplay
    from grandopt.cli.render.load import load_lines
    from grandopt.workflows.benchmark.load import REPORT
    from grandopt.workflows.benchmark.load import benchmark_load as measured

    with ProgressDisplay(terminal) as display:
        report = measured(
            described,
            artifacts,
            plan,
            trust=reading.trust,
            samples=given.samples,
            command=sys.argv,
            listener=display,
        )
    terminal.show(*load_lines(report))
    terminal.lines(["", f"report: {described.output / REPORT}"])
    terminal.document(report.model_dump(mode="json"))
    return outcome(report)


def load_plan(loading: LoadOptions, seed: int) -> LoadPlan:
    """What the options ask for; raises ConfigError for values that are no rates, callers or times, and for
    more than one way of saying when requests come."""
    recorded = _check(loading)
    from grandopt.measurement.load.arrivals import MOST_REQUESTS, read_arrivals
    from grandopt.measurement.load.settings import LoadSettings
    from grandopt.workflows.benchmark.load import LoadPlan

    settings = LoadSettings(
        seconds=1.0 if loading.seconds is None else loading.seconds,
        warmup_s=0.0 if recorded else 0.2,
        deadline_s=None if loading.deadline_ms is None else loading.deadline_ms / 1e3,
        tell_deadline=loading.deadline_ms is not None,
        seed=seed,
    )
    for rate in loading.rate or ():
        if rate * (settings.seconds + settings.warmup_s) > MOST_REQUESTS:
            raise ConfigError(
                f"--rate {rate:g} for {settings.seconds:g} s is more than {MOST_REQUESTS:,} requests: "
                f"ask for fewer, or fewer --seconds"
            )
    return LoadPlan(
        settings=settings,
        law="constant" if loading.arrivals == "constant" else "poisson",
        rates=tuple(loading.rate or ()),
        callers=tuple(loading.callers or ()),
        due_ns=read_arrivals(Path(loading.arrivals)) if recorded else None,
    )


def _check(loading: LoadOptions) -> bool:
    """Refuse what does not fit, before anything heavy is imported; gives whether arrivals are recorded."""
    recorded = loading.arrivals not in ("poisson", "constant")
    asked = [name for name in loading.given() if name in ("--rate", "--callers")]
    asked += ["--arrivals FILE"] if recorded else []
    if len(asked) > 1:
        raise ConfigError(f"{' and '.join(asked)} both say when requests come: give one of them")
    for name, values in (
        ("--rate", loading.rate or ()),
        ("--callers", loading.callers or ()),
        ("--deadline-ms", () if loading.deadline_ms is None else (loading.deadline_ms,)),
        ("--seconds", () if loading.seconds is None else (loading.seconds,)),
    ):
        for value in values:
            if not 0 < value < math.inf:
                raise ConfigError(f"{name} must be a positive number, got {value:g}")
            least, most = LIMITS[name]
            if not least <= value <= most:
                raise ConfigError(f"{name} must be from {least:g} to {most:,}, got {value:g}")
    return recorded


def _artifacts(paths: Sequence[Path], described: Job) -> list[Path]:
    """The artifacts that are named, or those that lie where `optimize` puts those of the job."""
    from grandopt.artifacts.artifact import is_artifact

    others = [path for path in paths if not is_artifact(path)]
    if others:
        raise ConfigError(f"{others[0]}: --load serves artifacts; make one with `grandopt optimize`")
    if paths:
        return list(paths)
    places = [described.output / "artifacts" / name for name in described.agents]
    found = [place for place in places if is_artifact(place)]
    if not found:
        raise ConfigError(
            f"{described.output / 'artifacts'}: no artifact of {', '.join(described.agents)}; run `grandopt "
            f"optimize` first, or name artifacts"
        )
    return found
