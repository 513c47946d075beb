"""`benchmark --load`: artifacts served by the engine under load, beside direct calls of them and of their
originals."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from grandopt.artifacts.artifact import Artifact, read
from grandopt.artifacts.signing.requirement import OWN_BUILD
from grandopt.artifacts.store import Store
from grandopt.compiler.build import original
from grandopt.config.schema import Job
from grandopt.errors import GrandoptError, InputError
from grandopt.measurement.load import timing
from grandopt.measurement.load.base import Law, Load, rows
from grandopt.measurement.load.concurrent import ConcurrentLoad
from grandopt.measurement.load.result import LoadResult
from grandopt.measurement.load.saturation import CALLERS, FRACTIONS, Saturation, saturation
from grandopt.measurement.load.serial import SerialLoad
from grandopt.measurement.load.settings import LoadSettings
from grandopt.reporting.load import Arrivals, LoadCurveReport
from grandopt.reporting.log import utc_now
from grandopt.reporting.report import AgentReport, Report, SourceReport, write_report
from grandopt.runtime.engine.engine import Engine
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.loader import load
from grandopt.signature import Array
from grandopt.verification.inputs import ring
from grandopt.workflows.benchmark.artifacts import recorded
from grandopt.workflows.benchmark.load_curve import curve_report
from grandopt.workflows.events import Event, Listener, silent
from grandopt.workflows.exporting.program import carried
from grandopt.workflows.job import kept_when_stopped
from grandopt.workflows.records import Summary

REPORT = Path("reports/load_report.json")
"""Below the output folder."""
DIRECT = "one call after the other"
EAGER = "eager, one after the other"
STORE_BYTES = 1 << 32


@dataclass(frozen=True)
class LoadPlan:
    """What to put on each agent: a curve over fractions of its saturation, unless something is named.

    `rates` are open loops at so many requests a second, `callers` closed loops, `due_ns` recorded arrivals.
    """

    settings: LoadSettings = field(default_factory=LoadSettings)
    law: Law = "poisson"
    rates: tuple[float, ...] = ()
    callers: tuple[int, ...] = ()
    due_ns: Array | None = None

    @property
    def arrivals(self) -> Arrivals:
        """How requests arrive, in a word."""
        if self.due_ns is not None:
            return "recorded"
        return "callers" if self.callers else self.law

    @property
    def searches(self) -> bool:
        """Whether saturation is to be found."""
        return self.due_ns is None and not self.callers and not self.rates


@dataclass(frozen=True)
class Way:
    """One way of serving: its name, how load is put on it, and how many callers it can have at once."""

    label: str
    load: Callable[[LoadSettings], Load]
    most: int = CALLERS


def benchmark_load(
    job: Job,
    paths: Sequence[Path],
    plan: LoadPlan,
    *,
    trust: bool = False,
    samples: Path | None = None,
    command: Sequence[str] = (),
    listener: Listener = silent,
    now: Callable[[], datetime] = utc_now,
) -> Report:
    """Serve each artifact in this process, and write what came out to REPORT.

    Ways of serving it take turns at each point. Raises an InputError for an artifact that cannot be loaded,
    or samples that do not fit, before anything is measured; what goes wrong later is the agent's reason.
    """
    artifacts = [read(path) for path in paths]
    rings = []
    for artifact in artifacts:
        load(artifact.path, trust=trust).close()
        given = None if samples is None else recorded(samples, artifact, trust=trust)
        rings.append(ring(artifact.manifest.parsed_signature(), samples=given, seed=job.seed))
    summary = Summary("benchmark", job, command, now)
    done: list[AgentReport] = []
    with kept_when_stopped(
        lambda: summary.report(done, [], "partial"),
        lambda unfinished: write_report(unfinished, job.output / REPORT),
    ):
        for artifact, drawn in zip(artifacts, rings, strict=True):
            name, place = artifact.manifest.name, len(done)

            def tell(text: str, name: str = name, place: int = place) -> None:
                listener(Event("info", name, "load", text, place, len(artifacts)))

            done.append(_record(job, artifact, rows(drawn), plan, tell, trust=trust))
    report = summary.report(done, [], "complete")
    write_report(report, job.output / REPORT)
    return report


def _record(
    job: Job,
    artifact: Artifact,
    observations: Sequence[Any],
    plan: LoadPlan,
    tell: Callable[[str], None],
    *,
    trust: bool,
) -> AgentReport:
    manifest = artifact.manifest
    source = manifest.source
    known: dict[str, Any] = {
        "name": manifest.name,
        "source": SourceReport(
            format=source.format, path=source.path, sha256=source.sha256, weights=source.weights
        ),
        "signature": manifest.signature,
        "contract": asdict(manifest.parsed_contract()),
    }
    try:
        with _eager(artifact) as (eager, reason), closing(load(artifact.path, trust=trust)) as direct:
            curves = timing.run(
                _curves(job, artifact, {DIRECT: direct, EAGER: eager}, observations, plan, tell, trust=trust)
            )
    except GrandoptError as error:
        tell(f"failed: {error}")
        return AgentReport(
            status="failed",
            reason=str(error),
            error_kind="input" if isinstance(error, InputError) else "other",
            **known,
        )
    if reason is not None:
        curves = (*curves, curve_report(EAGER, plan.arrivals, plan.settings, reason=reason))
    words = f"{manifest.engine} {manifest.precision} under load"
    return AgentReport(status="measured", reason=words, loads=curves, **known)


@contextmanager
def _eager(artifact: Artifact) -> Iterator[tuple[Executor | None, str | None]]:
    """The program that the artifact was made from, in eager torch, or the reason why there is none."""
    try:
        program = carried(artifact.path)
    except GrandoptError as error:
        yield None, str(error)
        return
    with tempfile.TemporaryDirectory(prefix="grandopt-") as folder:
        with closing(Store(Path(folder), STORE_BYTES)) as store:
            executor = load(original(program, store).path, trust=True, threads=1, require_signature=OWN_BUILD)
        with closing(executor):
            yield executor, None


async def _curves(
    job: Job,
    artifact: Artifact,
    direct: dict[str, Executor | None],
    observations: Sequence[Any],
    plan: LoadPlan,
    tell: Callable[[str], None],
    *,
    trust: bool,
) -> tuple[LoadCurveReport, ...]:
    """All ways of serving side by side: at each point one after the other."""
    engine, profile = Engine(), job.profile.name
    await engine.initialize(profile)
    async with engine:
        name = engine.load(artifact.path, trust=trust)
        ways = [
            Way(f"engine, {profile}", partial(ConcurrentLoad, _asking(engine, name), observations)),
            *(
                Way(label, partial(SerialLoad, _calling(executor), observations), most=1)
                for label, executor in direct.items()
                if executor is not None
            ),
        ]
        # Saturation is a matter of throughput: there requests are not refused for their deadline.
        patient = replace(plan.settings, tell_deadline=False)
        found: dict[str, Saturation] = {}
        for way in ways if plan.searches else ():
            tell(f"{way.label}: looking for the highest rate that it sustains")
            found[way.label] = await saturation(way.load(patient), callers=way.most, law=plan.law)
        loads = {way.label: way.load(plan.settings) for way in ways}
        runs: dict[str, list[LoadResult]] = {way.label: [] for way in ways}
        for point in (plan.callers or plan.rates or FRACTIONS) if plan.due_ns is None else (0,):
            for way in ways:
                if plan.callers and runs[way.label] and point > way.most:
                    continue  # one after the other has one caller, and was measured with it
                tell(f"{way.label}: {_words(plan, point)}")
                runs[way.label].append(
                    await _run(loads[way.label], way.most, plan, point, found.get(way.label))
                )
        return tuple(
            curve_report(way.label, plan.arrivals, plan.settings, runs[way.label], found.get(way.label))
            for way in ways
        )


async def _run(load: Load, most: int, plan: LoadPlan, point: float, found: Saturation | None) -> LoadResult:
    if plan.due_ns is not None:
        return await load.replay(plan.due_ns)
    if plan.callers:
        return await load.closed(1 if most == 1 else int(point))
    return await load.at(point if found is None else point * found.rate, plan.law)


def _words(plan: LoadPlan, point: float) -> str:
    if plan.due_ns is not None:
        return f"{len(plan.due_ns):,} recorded arrivals"
    if plan.callers:
        return f"{point:.0f} callers"
    return f"{point:,.0f} requests a second" if plan.rates else f"{100 * point:.0f} % of saturation"


def _asking(engine: Engine, name: str) -> Callable[[Any, int, int], Awaitable[Any]]:
    def target(observation: tuple[Array, ...], priority: int, deadline_ns: int) -> Awaitable[Any]:
        if not deadline_ns:
            return engine.infer(name, *observation)
        left = (deadline_ns - time.perf_counter_ns()) / 1e9
        return engine.infer(name, *observation, priority=priority, deadline_s=left)

    return target


def _calling(executor: Executor) -> Callable[[Any, int, int], Any]:
    return lambda observation, priority, deadline_ns: executor(*observation)
