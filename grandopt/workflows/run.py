"""What all steps of one run share."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from grandopt.artifacts.store import Store
from grandopt.config.schema import Job
from grandopt.measurement.environment import available_cores
from grandopt.measurement.pool import WorkerPool
from grandopt.measurement.settings import Settings
from grandopt.workflows.builders import Builders
from grandopt.workflows.events import Event, Level, Listener

STATE = ".grandopt"
RELEASE_PROCESSES = 3
RELEASE_WINDOW_MS = 2.5
RELEASE_SECONDS = 2.1
"""Of calls of one subject over all processes. What an interval's width depends on is the number of processes
and of rounds, not of calls in a round; 45 rounds of 50 calls are as many as a p99.9 needs."""


@dataclass(frozen=True)
class Run:
    """A job, the places it writes to, its measuring and its building processes, and who listens.

    `done` and `total` count the agents, for the listener's progress display; `ends` is when the present
    one's time budget is used up (monotonic seconds), None between agents. `taken` holds what `once` measured
    in this run. `command` is what was called.
    """

    job: Job
    store: Store
    pool: WorkerPool
    builders: Builders
    listener: Listener
    done: int = 0
    total: int = 0
    ends: float | None = None
    taken: set[str] = field(default_factory=set)
    command: tuple[str, ...] = ()

    def tell(self, agent: str, step: str, message: str, *, level: Level = "info") -> None:
        """Say one line about an agent's step."""
        remaining = None if self.ends is None else max(0.0, self.ends - time.monotonic())
        self.listener(Event(level, agent, step, message, self.done, self.total, remaining))

    def release(self, threads: int = 1) -> Settings:
        """How what decides is measured: three processes, one after the other."""
        return Settings.release(
            threads=threads,
            seed=self.job.seed,
            window_ms=RELEASE_WINDOW_MS,
            max_seconds=RELEASE_SECONDS,
            processes=RELEASE_PROCESSES,
        )

    def start_measuring(self) -> None:
        """Let the measuring processes import what they need anyway while the first agent is captured."""
        self.pool.start(1 if self.job.threads == "auto" else self.job.threads, ["torch"])

    def at(self, done: int) -> Run:
        """The same run, `done` agents further; the next one's time budget begins now."""
        return replace(self, done=done, ends=time.monotonic() + self.job.profile.budget_s)


@contextmanager
def running(job: Job, store: Path, listener: Listener, command: Sequence[str] = ()) -> Iterator[Run]:
    """A run whose processes live, and whose entries in the store are in use, as long as the block."""
    with (
        _granted_threads(),
        WorkerPool(processes=RELEASE_PROCESSES) as pool,
        Builders(available_cores()) as builders,
        closing(Store(store, int(job.store_limit_mb * 1e6))) as kept,
    ):
        yield Run(job, kept, pool, builders, listener, total=len(job.agents), command=tuple(command))


@contextmanager
def _granted_threads() -> Iterator[None]:
    """Within the block torch uses no more threads than the cgroup grants; by itself it counts the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(before, available_cores()))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def storage_url(job: Job) -> str:
    """The Optuna storage of a job that names none: a SQLite file below its output folder."""
    return f"sqlite:///{(job.output / STATE / 'studies.db').absolute()}"
