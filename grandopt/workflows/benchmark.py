"""`benchmark`: every candidate and rival of an agent beside its original in one run; nothing is shipped."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from grandopt.config.rivals import RIVALS, RivalName
from grandopt.config.schema import Job
from grandopt.errors import ConfigError, MeasurementError
from grandopt.measurement.interpreter import Interpreter, interpreter
from grandopt.measurement.limit import MachineLimit, machine_limit
from grandopt.reporting.log import utc_now
from grandopt.reporting.report import AgentReport, Report
from grandopt.workflows import records
from grandopt.workflows.agents import Opened, open_agents
from grandopt.workflows.attempt import attempts
from grandopt.workflows.contender import Contender, candidate
from grandopt.workflows.contest import ORIGINAL, Contest
from grandopt.workflows.decision import decide
from grandopt.workflows.events import Listener, silent
from grandopt.workflows.operators import operator_reports
from grandopt.workflows.prepared import prepared
from grandopt.workflows.recipe import recipe
from grandopt.workflows.remember import remember
from grandopt.workflows.rivals import rivals
from grandopt.workflows.rows import measured_figures
from grandopt.workflows.run import STATE, Run, running
from grandopt.workflows.search import build_all, threads
from grandopt.workflows.side_by_side import side_by_side
from grandopt.workflows.stages import Stages
from grandopt.workflows.standing import Standing, mean_leads
from grandopt.workflows.summary import Summary
from grandopt.workflows.work import work


@dataclass(frozen=True)
class Benchmark:
    """What to measure beside the candidates of a job.

    `batches` are batch sizes above 1, each measured in full. `into` calls everything through `run_into`.
    `operators` adds where the time of the original and of the fastest candidate goes. `rivals` take part, and
    `pythons` names the interpreters of those that need an environment of their own.
    """

    batches: tuple[int, ...] = ()
    into: bool = False
    operators: bool = False
    rivals: tuple[RivalName, ...] = RIVALS
    pythons: Mapping[str, Path] | None = None


def benchmark_job(
    job: Job,
    wanted: Benchmark | None = None,
    *,
    samples: Path | None = None,
    command: Sequence[str] = (),
    listener: Listener = silent,
    now: Callable[[], datetime] = utc_now,
) -> Report:
    """Build, verify and measure every candidate and rival of every agent of a job, all of them in full.

    Built candidates are kept in the store under `.grandopt`, so that a second run builds nothing; no artifact
    and no report is written, but the history gets a record. Raises an InputError for an agent that cannot be
    opened or an interpreter that cannot be used, before any work.
    """
    asked = wanted or Benchmark()
    opened = open_agents(job, samples)
    summary = Summary("benchmark", job, command, now)
    with (
        _executorch(asked) as other,
        running(job, job.output / STATE / "store", listener, summary.command) as run,
    ):
        limit = machine_limit()
        work = partial(benchmark_agent, wanted=asked, executorch=other, limit=limit)
        done = list(attempts(run, opened, work))
    report = summary.report(done, [], "complete").model_copy(update={"leads": mean_leads(done)})
    remember(job, report, listener)
    return report


def benchmark_agent(
    run: Run, opened: Opened, wanted: Benchmark, executorch: Interpreter | None, limit: MachineLimit
) -> AgentReport:
    """One agent's table: all that verification admitted is measured beside the original, all at once.

    With `--threads auto` everything is measured at the machine's most threads.
    """
    stages, name, count = Stages(), opened.name, threads(run)[-1]
    contest = prepared(run, opened, stages)
    with stages.step("build"):
        build_all(run, contest, run.job.profile.budget_s, [count])
    with tempfile.TemporaryDirectory(prefix="grandopt-") as folder:
        with stages.step("rivals"):
            others = rivals(
                run, contest, Path(folder), names=_names(run, wanted), executorch=executorch, threads=count
            )
            contenders = (*(candidate(contest, entry) for entry in contest.entries()), *others)
        with stages.step("measure"):
            standing = _measured(run, contest, contenders, wanted, limit, count)
    entries = [item.entry for item in contenders if item.entry is not None]
    ready = [entry for entry in entries if entry.label in standing.labels]
    decision = decide(standing.single, ready)
    with stages.step("operators"):
        profiles = operator_reports(run, contest, decision.winner) if wanted.operators else ()
    return AgentReport(
        name=name,
        status="measured",
        reason=decision.reason,
        targets=records.targets(opened.config, run.job.profile, None),
        original=measured_figures(run, contest, standing.single, None, standing.limit_us),
        original_behind=standing.behind(ORIGINAL),
        original_batches=standing.batches(ORIGINAL),
        speedup=None if decision.ratio is None else records.ratio(decision.ratio),
        candidates=standing.rows(),
        leads=standing.leads(),
        operators=profiles,
        verification_reference=contest.oracle.reference_precision,
        stages=stages.seconds,
        recipe=recipe(run, opened),
        **records.subject(contest.program, standing.work),
    )


def _measured(
    run: Run,
    contest: Contest,
    contenders: tuple[Contender, ...],
    wanted: Benchmark,
    limit: MachineLimit,
    count: int,
) -> Standing:
    settings = replace(run.release(count), into=wanted.into)
    subjects = [item.subject for item in contenders if item.verified and item.subject is not None]
    single, broken = side_by_side(run, contest, subjects, settings)
    measurements = {1: single}
    left = [subject for subject in subjects if subject.label not in broken]
    for batch in wanted.batches:
        measurements[batch], _ = side_by_side(run, contest, left, replace(settings, batch=batch))
    amount = work(contest.program)
    return Standing(contenders, measurements, broken, amount.limit_us(limit), amount)


def _names(run: Run, wanted: Benchmark) -> tuple[RivalName, ...]:
    """The rivals compute in float32: they have no part in a benchmark of other precisions."""
    return wanted.rivals if "float32" in run.job.profile.precisions else ()


@contextmanager
def _executorch(wanted: Benchmark) -> Iterator[Interpreter | None]:
    """The interpreter that has ExecuTorch: the named one, else this one if it does, else None."""
    named = (wanted.pythons or {}).get("executorch")
    if "executorch" not in wanted.rivals or (named is None and find_spec("executorch") is None):
        yield None
        return
    with ExitStack() as stack:
        try:
            found = stack.enter_context(interpreter(named or Path(sys.executable), ["torch", "executorch"]))
        except MeasurementError as error:
            raise ConfigError(f"--rival executorch={named}: {error}") from error
        for library in ("torch", "executorch"):
            if library not in found.versions:
                raise ConfigError(
                    f"--rival executorch={found.executable}: {library} is not installed there; "
                    f"{found.executable} -m pip install {library}"
                )
        yield found
