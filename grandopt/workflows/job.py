"""What one run of a job shares: its folders, processes, clock and listeners, and each agent's turn.

What goes wrong for one agent is its record, and the others go on.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch

from grandopt.artifacts.fleet.fleet import FleetStore
from grandopt.artifacts.store import Store
from grandopt.artifacts.store_name import store_name
from grandopt.cgroup import cpu_quota
from grandopt.compiler.backends.native.level_choice import check_levels
from grandopt.config.schema import Job
from grandopt.errors import ConfigError, GrandoptError, HistoryError, InputError, ReportError, StorageError
from grandopt.measurement.environment import affinity, available_cores
from grandopt.measurement.process.pool import WorkerPool
from grandopt.measurement.settings import MOST_PROCESSES, MeasurementSettings
from grandopt.private import told_command
from grandopt.reporting.history.store import append
from grandopt.reporting.report import AgentReport, Report
from grandopt.tuning.study.shared_builds import SharedBuilds, shared_builds
from grandopt.workflows import records
from grandopt.workflows.building.pool import BuildPool
from grandopt.workflows.events import Event, Level, Listener
from grandopt.workflows.open_agents import OpenedAgent, RefusedAgent

STATE = ".grandopt"
RELEASE_PROCESSES = 3
RELEASE_WINDOW_MS = 1.0
RELEASE_SECONDS = 2.1
"""Of calls of one subject over all processes. What an interval's width depends on is the number of processes
and of rounds, not of calls in a round; 45 rounds of 50 calls are as many as a p99.9 needs."""


@dataclass(frozen=True)
class Run:
    """A job, the places it writes to, its measuring and its building processes, and who listens.

    `done` and `total` count the agents, for the listener's progress display; `ends` is when the present
    one's time budget is used up (monotonic seconds), None between agents. `taken` holds what `once` measured
    in this run. `command` is what was called. `shared` says what other machines build, where the job has a
    storage in common with them and goes on with what is there.
    """

    job: Job
    store: Store
    pool: WorkerPool
    builders: BuildPool
    listener: Listener
    done: int = 0
    total: int = 0
    ends: float | None = None
    taken: set[str] = field(default_factory=set)
    command: tuple[str, ...] = ()
    shared: SharedBuilds | None = None

    def tell(self, agent: str, step: str, message: str, *, level: Level = "info") -> None:
        """Say one line about an agent's step."""
        remaining = None if self.ends is None else max(0.0, self.ends - time.monotonic())
        self.listener(Event(level, agent, step, message, self.done, self.total, remaining))

    def release(self, threads: int = 1) -> MeasurementSettings:
        """How what decides is measured at first: three processes, one after the other."""
        return MeasurementSettings.release(
            threads=threads,
            seed=self.job.seed,
            window_ms=RELEASE_WINDOW_MS,
            max_seconds=RELEASE_SECONDS,
            processes=RELEASE_PROCESSES,
        )

    def start_measuring(self) -> None:
        """Let the measuring processes import what they need anyway while the first agent is captured."""
        self.pool.start(1 if self.job.threads == "auto" else self.job.threads, ["torch"], RELEASE_PROCESSES)

    def at(self, done: int) -> Run:
        """The same run, `done` agents further; the next one's time budget begins now."""
        return replace(self, done=done, ends=time.monotonic() + self.job.profile.budget_s)


def check_threads(threads: int | Literal["auto"]) -> None:
    """Raise ConfigError for more threads than this machine grants: no engine may use them."""
    granted = available_cores()
    if threads == "auto" or threads <= granted:
        return
    cores, quota = affinity(), cpu_quota()
    limit = "" if quota is None or quota >= cores else f" (the cgroup's quota is {quota:g} of {cores} cores)"
    raise ConfigError(
        f"threads: {threads} are asked for, but this machine grants {granted}{limit}; give at most "
        f"{granted}, or 'auto'"
    )


@contextmanager
def running(job: Job, store: Path, listener: Listener, command: Sequence[str] = ()) -> Iterator[Run]:
    """A run whose processes live, and whose entries in the store are in use, as long as the block.

    Raises ConfigError for more threads than the machine grants, for feature levels that it cannot have, and
    for a fleet's store that does not exist or refuses this machine; StorageError where the job's storage
    cannot be used, or is lost in the block.
    """
    check_threads(job.threads)
    check_levels(job.levels)
    with (
        _shared(job, store) as shared,
        _granted_threads(),
        WorkerPool(processes=MOST_PROCESSES) as pool,
        BuildPool(available_cores()) as builders,
        closing(Store(store, int(job.store_limit_mb * 1e6), _fleet(job, listener))) as kept,
    ):
        yield Run(
            job,
            kept,
            pool,
            builders,
            listener,
            total=len(job.agents),
            command=told_command(command),
            shared=shared,
        )


def _fleet(job: Job, listener: Listener) -> FleetStore | None:
    """The store that the job's machines share; what is wrong with it is a warning."""
    if job.fleet.store is None:
        return None
    from grandopt.artifacts.fleet.opener import open_fleet  # its libraries, where a job has one

    def tell(line: str) -> None:
        listener(Event("warning", "", "store", line))

    fleet = job.fleet
    return open_fleet(job.fleet.store, tell, keys=fleet.require_signature, key=fleet.signing_key)


@contextmanager
def _granted_threads() -> Iterator[None]:
    """Within the block torch uses no more threads than the cgroup grants; by itself it counts the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(before, available_cores()))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _shared(job: Job, store: Path) -> Iterator[SharedBuilds | None]:
    if job.storage is None or not job.resume:
        yield None
        return
    with shared_builds(job.storage, store_in_common(job, store)) as shared:
        yield shared


def store_in_common(job: Job, store: Path) -> str:
    """What those who have the same builds in reach call their store: the fleet's, else the folder of the run.

    Nobody waits for a build that would then be out of reach.
    """
    if job.fleet.store is None:
        return store_name(store)
    return hashlib.sha256(job.fleet.store.encode()).hexdigest()


def storage_url(job: Job) -> str:
    """Where the job's trials are kept: in the storage that it names, else a SQLite file below its output
    folder."""
    return job.storage or f"sqlite:///{(job.output / STATE / 'studies.db').absolute()}"


class Stages:
    """Seconds per step, in the order in which the steps began; a step done twice is summed."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds: dict[str, float] = {}
        self._clock = clock
        self._start = clock()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time the block under `name`, also when it raises."""
        begin = self._clock()
        self.seconds.setdefault(name, 0.0)
        try:
            yield
        finally:
            self.seconds[name] += self._clock() - begin

    def elapsed(self) -> float:
        """Seconds since the object was made."""
        return self._clock() - self._start


Work = Callable[[Run, OpenedAgent], AgentReport]


def attempts(run: Run, opened: Sequence[OpenedAgent], work: Work) -> Iterator[AgentReport]:
    """The record of each agent in turn; a GrandoptError becomes a "failed" one with its reason."""
    for place, agent in enumerate(opened):
        yield _attempt(run.at(place), agent, work)


def _attempt(run: Run, agent: OpenedAgent, work: Work) -> AgentReport:
    try:
        return work(run, agent)
    except StorageError:
        raise  # no agent's fault, and the others need it, too
    except GrandoptError as error:
        run.tell(agent.name, "failed", str(error), level="error")
        return records.failed(
            agent.name,
            error,
            bad_input=isinstance(error, InputError),
            config=agent.config,
            profile=run.job.profile,
        )


def refusals(job: Job, refused: Sequence[RefusedAgent], listener: Listener) -> list[AgentReport]:
    """The records of the agents that could not be opened, each told to the listener."""
    for agent in refused:
        listener(Event("error", agent.name, "failed", str(agent.error)))
    return [
        records.failed(agent.name, agent.error, bad_input=True, config=agent.config, profile=job.profile)
        for agent in refused
    ]


@contextmanager
def kept_when_stopped(unfinished: Callable[[], Report], keep: Callable[[Report], None]) -> Iterator[None]:
    """Hand the `unfinished` report to `keep` where an error, an interrupt or a bug of ours ends the block."""
    try:
        yield
    except BaseException:
        keep(unfinished())
        raise


def waiting(job: Job, opened: Sequence[OpenedAgent]) -> list[AgentReport]:
    """The records of agents whose turn did not come."""
    return [records.not_run(agent.name, config=agent.config, profile=job.profile) for agent in opened]


HISTORY = Path("reports/history.sqlite")
"""Beside the reports: unlike what lies under `.grandopt` it cannot be made again."""


def remember(job: Job, report: Report, listener: Listener) -> None:
    """Add a run to the history of the job's output folder.

    A history that cannot be used is one warning, and stays as it is: it is no reason for a run to fail. A run
    that came to no agent is not added.
    """
    if all(agent.status == "not run" for agent in report.agents):
        return
    try:
        append(job.output / HISTORY, report)
    except (HistoryError, ReportError) as error:
        listener(Event("warning", "", "history", f"this run is not in it: {error}"))
