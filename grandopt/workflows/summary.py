"""The frame of a report: what was run, when, where, and with which settings."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Literal

from grandopt.config.schema import Job
from grandopt.measurement.environment import environment
from grandopt.reporting.recommendations import with_recommendations
from grandopt.reporting.report import AgentReport, Kind, Report


class Summary:
    """Made when a run begins; `report` puts its frame around the agents' records.

    `command` is what was called, with the program's name instead of its path.
    """

    def __init__(self, kind: Kind, job: Job, command: Sequence[str], now: Callable[[], datetime]) -> None:
        self._kind: Kind = kind
        self._job = job
        self.command = (Path(command[0]).name, *command[1:]) if command else ()
        self._now = now
        self._started = now()
        self._begin = time.monotonic()
        self._environment = asdict(environment())

    def report(
        self,
        done: Sequence[AgentReport],
        waiting: Sequence[AgentReport],
        status: Literal["complete", "partial"],
    ) -> Report:
        """The report of what is done and what still waits."""
        report = Report(
            kind=self._kind,
            status=status,
            command=self.command,
            started=moment(self._started),
            finished=moment(self._now()),
            duration_s=time.monotonic() - self._begin,
            grandopt=metadata.version("grandopt"),
            environment=self._environment,
            profile=self._job.profile.model_dump(mode="json"),
            seed=self._job.seed,
            threads=self._job.threads,
            agents=(*done, *waiting),
        )
        return with_recommendations(report)


def moment(time: datetime) -> str:
    """A time in UTC as reports hold it: ISO 8601 to the millisecond, with "Z"."""
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
