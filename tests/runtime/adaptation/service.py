"""A service in virtual time: callers, a bounded queue, workers whose batches take a·n + b."""

from __future__ import annotations

import heapq
import random
from collections import Counter, deque
from dataclasses import dataclass, field, replace

from grandopt.runtime.adaptation.controller import Controller
from grandopt.runtime.adaptation.evidence import Reading
from grandopt.runtime.adaptation.knobs import Knob, batch_limit, concurrency
from grandopt.runtime.histogram import LatencyHistogram
from grandopt.runtime.scheduling.calibration import SIZES, fitted


@dataclass(frozen=True)
class Cost:
    """Nanoseconds of a batch of n rows: `fixed` + `row` · n + `square` · n².

    Each further batch at the same time makes it longer by `contention`; `noise` is its relative spread.
    """

    row: float
    fixed: float
    square: float = 0.0
    contention: float = 0.0
    noise: float = 0.0

    def of(self, rows: int, others: int, draw: random.Random) -> int:
        base = self.fixed + self.row * rows + self.square * rows * rows
        return max(1, int(base * (1 + self.contention * others) * max(0.1, draw.gauss(1.0, self.noise))))


@dataclass(frozen=True)
class Load:
    """Callers that wait for each answer, then think for `think_ns`; arrivals a second from outside."""

    callers: int = 0
    think_ns: int = 0
    arrivals: float = 0.0


@dataclass
class Service:
    """Like the batcher: an idle worker takes what is there, up to `limit` rows."""

    cost: Cost
    load: Load
    seed: int = 0
    limit: int = 64
    workers: int = 1
    queue_rows: int = 2048
    now: int = 0
    depth: deque[tuple[int, bool]] = field(default_factory=deque)
    answered: int = 0

    def __post_init__(self) -> None:
        self.draw, self.arriving = random.Random(self.seed), random.Random(self.seed + 1)
        self.latency = LatencyHistogram()
        self.sizes: Counter[int] = Counter()
        self.events: list[tuple[int, int, str, list[tuple[int, bool]]]] = []
        self.arrives = False
        self.number = self.running = self.refused = self.batches = self.busy = self.full = self.inside = 0
        self.change(self.load)

    def change(self, load: Load) -> None:
        """Another workload from now on; callers that are too many leave with their next answer."""
        self.load = load
        for _ in range(self.inside, load.callers):
            self.inside += 1
            self._at(self.now, "call")
        if load.arrivals and not self.arrives:
            self.arrives = True
            self._at(self.now, "arrive")

    def run(self, seconds: float) -> None:
        end = self.now + int(seconds * 1e9)
        while self.events and self.events[0][0] <= end:
            self.now, _, kind, requests = heapq.heappop(self.events)
            if kind == "end":
                self._end(requests)
            elif kind == "call":
                self._come(True)
            elif not self.load.arrivals:
                self.arrives = False
            else:
                self._come(False)
                self._at(self.now + int(self.arriving.expovariate(self.load.arrivals) * 1e9), "arrive")
            self._start()
        self.now = end

    def pull(self) -> Reading:
        return Reading(
            self.now,
            self.latency.snapshot(),
            refused=self.refused,
            depth=len(self.depth),
            batches=self.batches,
            busy_ns=self.busy,
            full=self.full,
            sizes=tuple(sorted(self.sizes.items())),
            workers=self.workers,
        )

    def knobs(self, most: int = 256, workers: int = 1) -> list[Knob]:
        silent = replace(self.cost, noise=0.0)
        line = fitted({size: float(silent.of(size, 0, random.Random(0))) for size in SIZES})

        def limited(value: int) -> None:
            self.limit = value

        def sized(value: int) -> None:
            self.workers = value

        found = [batch_limit(lambda: self.limit, limited, most, lambda: line)]
        if workers > 1:
            found.append(concurrency(lambda: self.workers, sized, lambda: self.limit, limited, most=workers))
        return found

    def _at(self, at: int, kind: str, requests: list[tuple[int, bool]] | None = None) -> None:
        self.number += 1
        heapq.heappush(self.events, (at, self.number, kind, requests or []))

    def _come(self, caller: bool) -> None:
        if caller and self.inside > self.load.callers:
            self.inside -= 1
        elif len(self.depth) >= self.queue_rows:
            self.refused += 1
        else:
            self.depth.append((self.now, caller))

    def _start(self) -> None:
        # What comes at the same moment travels together, as callers do that were woken by one batch.
        if self.events and self.events[0][0] == self.now:
            return
        while self.depth and self.running < self.workers:
            rows = min(self.limit, len(self.depth))
            self.full += len(self.depth) > self.limit
            requests = [self.depth.popleft() for _ in range(rows)]
            takes = self.cost.of(rows, self.running, self.draw)
            self.running += 1
            self.batches += 1
            self.sizes[1 << (rows - 1).bit_length()] += 1
            self.busy += takes
            self._at(self.now + takes, "end", requests)

    def _end(self, requests: list[tuple[int, bool]]) -> None:
        self.running -= 1
        self.latency.record_many([self.now - arrived for arrived, _ in requests])
        self.answered += len(requests)
        for _, caller in requests:
            if caller:
                self._at(self.now + self.load.think_ns, "call")


def drive(service: Service, controller: Controller, seconds: float) -> None:
    """Serve for so long, with the controller called when it asks to be."""
    end = service.now + int(seconds * 1e9)
    delay = controller.step()
    while service.now + int(delay * 1e9) <= end:
        service.run(delay)
        delay = controller.step()
    service.run((end - service.now) / 1e9)
