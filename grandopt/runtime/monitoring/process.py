"""Memory and processor time of a serving process and of its workers."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence

import psutil

from grandopt import cgroup
from grandopt.errors import ConfigError
from grandopt.runtime.memory.resident import Reader, resident_reader
from grandopt.runtime.monitoring.gpu import GpuReader
from grandopt.runtime.monitoring.metrics import ProcessMetrics

log = logging.getLogger(__name__)


class ProcessReader:
    """Reads this process and those of `workers`, which gives their numbers; not thread-safe.

    `resident` and `cpu_s` read this process's memory and the seconds of CPU that it has used.
    """

    def __init__(
        self,
        workers: Callable[[], Sequence[int]] = lambda: (),
        gpus: GpuReader | None = None,
        resident: Reader | None = None,
        cpu_s: Callable[[], float] | None = None,
    ) -> None:
        self._workers = workers
        self._gpus = gpus
        self._resident = resident_reader(detailed=False) if resident is None else resident
        self._cpu_s = _own_cpu_s if cpu_s is None else cpu_s
        self._granted = granted_cores()
        self._limit = granted_memory()
        self._before: tuple[float, dict[int, float]] | None = None
        self._used = 0.0
        self._blind = False

    def read(self, at: float) -> ProcessMetrics:
        """The figures at `at` seconds of the monitor's clock; cores are those used since the read before."""
        memory = self._own_memory()
        cpu = {0: self._cpu_s()}
        for pid in self._workers():
            try:
                worker = psutil.Process(pid)
                with worker.oneshot():
                    times = worker.cpu_times()
                    cpu[pid] = times.user + times.system
                    memory = None if memory is None else memory + worker.memory_info().rss
            except psutil.Error:
                continue  # it ended, and its successor is asked at the next look
        cores = self._cores(at, cpu)
        self._before = (at, cpu)
        gpus = () if self._gpus is None else self._gpus()
        return ProcessMetrics(memory, self._limit, self._used, cores, self._granted, gpus)

    def _cores(self, at: float, cpu: dict[int, float]) -> float | None:
        """Cores that were used since the read before; a worker that is new began with nothing."""
        before = {} if self._before is None else self._before[1]
        used = sum(max(seconds - before.get(pid, 0.0), 0.0) for pid, seconds in cpu.items())
        self._used += used
        if self._before is None or at <= self._before[0]:
            return None
        return used / (at - self._before[0])

    def _own_memory(self) -> int | None:
        try:
            return self._resident().all
        except ConfigError as error:
            if not self._blind:
                log.warning("monitoring goes on without the memory: %s", error)
            self._blind = True
            return None


def granted_cores() -> float:
    """Cores' worth of time that this process may use: its affinity, cut by the cgroup's quota."""
    here = float(len(os.sched_getaffinity(0)))
    quota = cgroup.cpu_quota()
    return here if quota is None else min(here, quota)


def granted_memory() -> int:
    """Bytes that this process may take: the machine's, cut by the cgroup's limit."""
    everything = int(psutil.virtual_memory().total)
    limit = cgroup.memory_limit()
    return everything if limit is None else min(everything, limit)


def _own_cpu_s() -> float:
    times = os.times()
    return times.user + times.system
