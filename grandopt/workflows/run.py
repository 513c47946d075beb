"""What all steps of one run share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from grandopt.artifacts.store import Store
from grandopt.config.schema import Job
from grandopt.measurement.pool import WorkerPool
from grandopt.workflows.events import Event, Level, Listener

STATE = ".grandopt"
RELEASE_PROCESSES = 3


@dataclass(frozen=True)
class Run:
    """A job, the places it writes to, its measuring processes, and who listens.

    `done` and `total` count the agents, for the listener's progress display.
    """

    job: Job
    store: Store
    pool: WorkerPool
    listener: Listener
    done: int = 0
    total: int = 0

    def tell(
        self, agent: str, step: str, message: str, *, level: Level = "info", remaining_s: float | None = None
    ) -> None:
        """Say one line about an agent's step."""
        self.listener(Event(level, agent, step, message, self.done, self.total, remaining_s))

    def at(self, done: int) -> Run:
        """The same run, `done` agents further."""
        return replace(self, done=done)


@contextmanager
def running(job: Job, store: Path, listener: Listener) -> Iterator[Run]:
    """A run whose measuring processes live as long as the block."""
    with WorkerPool(processes=RELEASE_PROCESSES) as pool:
        yield Run(job, Store(store), pool, listener, total=len(job.agents))
