"""Controllers driven by an event loop, and what can be moved of a batcher."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from grandopt.runtime.adaptation.controller import Controller
from grandopt.runtime.adaptation.controller_settings import ControllerSettings
from grandopt.runtime.adaptation.decisions import Decision, DecisionLog
from grandopt.runtime.adaptation.evidence import Reading
from grandopt.runtime.adaptation.knobs import Knob, batch_limit, cache_entries, collector_young, concurrency
from grandopt.runtime.adaptation.readings import BatcherReader
from grandopt.runtime.adaptation.turn import Turn
from grandopt.runtime.cache.hierarchy import Hierarchy
from grandopt.runtime.memory.collector import Collector
from grandopt.runtime.scheduling.batcher import Batcher

MOST_ROWS = 512
"""The highest batch limit that is tried."""
MORE_ENTRIES = 8
"""How many times the entries that were asked for a cache may hold."""


@dataclass(frozen=True)
class TunerStats:
    """`made` decisions, of which the last are in `decisions`; `tried_s` seconds in the settings of trials."""

    made: int
    tried_s: float
    decisions: tuple[Decision, ...]


class AdaptiveTuner:
    """Tunes any number of services of one event loop, one setting at a time over all of them.

    It wakes by a timer of the loop: ten times a second while a service is used, less often where there is
    nothing to try, every two seconds while it is not used. Everything happens on the loop's thread, in pieces
    between which the loop goes on. `close` puts back what is being tried.
    """

    def __init__(
        self,
        settings: ControllerSettings | None = None,
        *,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self._settings, self._clock = settings, clock
        self._loop = asyncio.get_running_loop()
        self._turn, self._log = Turn(), DecisionLog()
        self._running: dict[str, tuple[Controller, asyncio.TimerHandle]] = {}
        self._tried_s = 0.0

    def add(
        self,
        name: str,
        batcher: Batcher,
        *,
        most_workers: int = 1,
        cache: Hierarchy | None = None,
        collector: Collector | None = None,
    ) -> None:
        """Tune a batcher's limit and its workers, and by their effect on its answers a cache and a collector.

        The number of workers is moved for threads alone, up to `most_workers`; the entries of the cache's
        memory from what they are to `MORE_ENTRIES` times that, within its limit in bytes.
        """
        knobs = batcher_knobs(batcher, most_workers)
        if cache is not None:
            entries = cache.memory_entries
            knobs.append(
                cache_entries(lambda: cache.memory_entries, cache.resize_memory, MORE_ENTRIES * entries)
            )
        if collector is not None and collector.stats().tuned:
            knobs.append(collector_young(lambda: collector.young, collector.retune))
        reader = BatcherReader(batcher, self._clock, cache=cache, collector=collector)
        self.add_service(name, reader.read, knobs, lambda: batcher.depth)

    def add_service(
        self,
        name: str,
        pull: Callable[[], Reading],
        knobs: Sequence[Knob],
        depth: Callable[[], int] | None = None,
    ) -> None:
        """Tune `knobs` by what `pull` reads, and `depth` of it alone; a service of that name from before is
        no longer tuned."""
        self.remove(name)
        controller = Controller(
            name, pull, knobs, self._settings, log=self._log, turn=self._turn, depth=depth
        )
        self._step(name, controller)

    def remove(self, name: str) -> None:
        """No longer tune a service; nothing happens where none has that name."""
        controller, timer = self._running.pop(name, (None, None))
        if controller is not None and timer is not None:
            timer.cancel()
            controller.close()
            self._tried_s += controller.tried_s

    def stats(self) -> TunerStats:
        """What was decided until now."""
        tried = sum(controller.tried_s for controller, _ in self._running.values())
        return TunerStats(self._log.made, self._tried_s + tried, self._log.last())

    def close(self) -> None:
        """Stop; settings stay where they were found to be best."""
        for name in list(self._running):
            self.remove(name)

    def _step(self, name: str, controller: Controller) -> None:
        delay = controller.piece()
        # A timer also where the next piece may follow at once: the requests that have come are ready before.
        self._running[name] = controller, self._loop.call_later(delay or 0.0, self._step, name, controller)


def batcher_knobs(batcher: Batcher, most_workers: int) -> list[Knob]:
    """What can be moved of a batcher while it serves."""

    def limit() -> int:
        return batcher.settings.limit

    def set_limit(rows: int) -> None:
        batcher.settings = replace(batcher.settings, limit=rows)

    most = max(1, min(MOST_ROWS, batcher.settings.queue_rows))
    knobs = [batch_limit(limit, set_limit, most, lambda: batcher.cost)]
    # A process takes seconds to start: not something to try in turns of a twentieth of a second.
    if batcher.workers.kind == "threads" and most_workers > 1:
        workers = batcher.workers
        knobs.append(concurrency(lambda: workers.size, workers.resize, limit, set_limit, most_workers))
    return knobs
