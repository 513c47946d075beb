"""Load on a plain function: one call after the other, on the thread of the event loop."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np

from grandopt.errors import MeasurementError
from grandopt.measurement.load.base import Load
from grandopt.measurement.load.recording import Recording
from grandopt.measurement.load.result import LoadResult
from grandopt.measurement.load.timing import COARSE_NS
from grandopt.signature import Array

FINE_NS = 200_000
"""The system wakes a thread up to this much late; the rest is spent looking at the clock."""
ROUND = 4096
"""Calls between two looks at whether the run was cancelled."""


class SerialLoad(Load):
    """Load on a function that returns its answer, behind the same arrivals: requests wait their turn.

    Nothing else runs in the event loop meanwhile. Requests whose turn does not come within the time of grace
    are lost.
    """

    async def closed(self, callers: int) -> LoadResult:
        """See `Load.closed`; raises MeasurementError for more callers than one."""
        if callers != 1:
            raise MeasurementError(f"what is called one by one has one caller, got {callers}")
        nothing = np.zeros(0, dtype=np.int64)
        record = Recording(nothing, nothing, clock_ns=self.clock())
        end = self.settings.warmup_ns + round(self.settings.seconds * 1e9)
        priorities = self._priorities(ROUND).tolist()
        while (moment := self.clock() - record.begin) < end:
            place = record.add(moment, priorities[len(record.due) % ROUND])
            self._call(record, place)
            if place % ROUND == 0:
                await asyncio.sleep(0)
        return record.result(
            "closed loop",
            (self.settings.warmup_ns, end),
            deadline_ns=self.settings.deadline_ns,
            callers=1,
        )

    async def _open(self, due_ns: Array, end_ns: int, rate: float | None) -> LoadResult:
        record = Recording(due_ns, self._priorities(len(due_ns)), clock_ns=self.clock())
        last = end_ns + round(self.settings.grace_s * 1e9)
        times = record.due.tolist()
        record.begin = self.clock()  # all that took its time was got ready before
        for place, due in enumerate(times):
            await self._wait(record.begin + due)
            moment = self.clock() - record.begin
            if moment > last:
                break
            record.started[place] = moment
            self._call(record, place)
            if place % ROUND == 0:
                await asyncio.sleep(0)
        return record.result(
            "one by one",
            (self.settings.warmup_ns, end_ns),
            deadline_ns=self.settings.deadline_ns,
            rate=rate,
        )

    async def _wait(self, moment: int) -> None:
        while (early := moment - self.clock()) > 0:
            if early > COARSE_NS:
                await asyncio.sleep((early - COARSE_NS) / 1e9)
            elif early > FINE_NS:
                time.sleep((early - FINE_NS) / 1e9)

    def _call(self, record: Recording, place: int) -> None:
        told = self._told_ns()
        latest = record.begin + record.due[place] + told if told else 0
        observation: Any = self.observations[place % len(self.observations)]
        try:
            self.target(observation, record.priorities[place], latest)
        except Exception as error:  # noqa: BLE001 - whatever the target raises is its answer to this request
            record.raised(place, self.clock() - record.begin, error)
        else:
            record.answered(place, self.clock() - record.begin)
