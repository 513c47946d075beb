"""The result of a measurement: raw samples, and the figures derived from them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from grandopt.errors import MeasurementError
from grandopt.measurement import statistics
from grandopt.measurement.settings import MeasurementSettings
from grandopt.signature import Array


@dataclass(frozen=True, eq=False)
class ProcessSamples:
    """One subject in one process.

    `call_ns` int64 [rounds, calls]: each call by itself, the cost of reading the clock included. `block_ns`
    float64 [rounds, blocks]: time per call of each block of `block_calls` calls; where that is 1, the same
    samples. `first_call_ns` is the first in this executor's life, in a process that has usually imported
    the engine before; `cold_start` measures fresh processes. `calls_to_stable` is None where the warm-up
    ended without three agreeing windows. `cpu_ns` is processor time of all threads during `cpu_calls` calls.
    """

    call_ns: Array
    block_ns: Array
    block_calls: int
    load_ns: int
    first_call_ns: int
    calls_to_stable: int | None
    cpu_ns: int
    cpu_calls: int
    timer_overhead_ns: float

    @property
    def round_medians_ns(self) -> Array:
        """Median time per call in each round, from blocks: [rounds]."""
        return np.asarray(np.median(self.block_ns, axis=1))


@dataclass(frozen=True)
class SubjectSamples:
    """One subject over all processes. Arrays are pooled raw samples, never averages of averages."""

    label: str
    processes: tuple[ProcessSamples, ...]

    @property
    def call_ns(self) -> Array:
        """Each single call of all processes, in nanoseconds, the cost of reading the clock included."""
        return np.concatenate([process.call_ns.ravel() for process in self.processes])

    @property
    def block_ns(self) -> Array:
        """Time per call of each block of all processes, in nanoseconds."""
        return np.concatenate([process.block_ns.ravel() for process in self.processes])

    @property
    def process_medians_ns(self) -> tuple[float, ...]:
        """Median time per call in each process."""
        return tuple(float(np.median(process.block_ns)) for process in self.processes)

    @property
    def first_call_ns(self) -> float:
        """The first call: median over processes."""
        return float(np.median([process.first_call_ns for process in self.processes]))

    @property
    def load_ns(self) -> float:
        """Loading the artifact: median over processes."""
        return float(np.median([process.load_ns for process in self.processes]))

    @property
    def calls_to_stable(self) -> int | None:
        """Calls until the speed was steady, in the slowest process; None if it was not in one of them."""
        counts = [process.calls_to_stable for process in self.processes]
        known = [count for count in counts if count is not None]
        return max(known) if len(known) == len(counts) else None

    @cached_property
    def median_interval_ns(self) -> tuple[float, float]:
        """The 95 % interval of the median time per call over processes: its low and high end."""
        return statistics.median_interval([process.round_medians_ns for process in self.processes], seed=0)

    @property
    def stable(self) -> bool:
        """Whether that interval is at most 10 % wide."""
        return statistics.width(*self.median_interval_ns) <= statistics.STEADY_WIDTH

    @property
    def cpu_s_per_million(self) -> float:
        """Core-seconds per million calls, over all threads of the process, spinning ones included."""
        spent = sum(process.cpu_ns for process in self.processes)
        return spent / 1e9 / sum(process.cpu_calls for process in self.processes) * 1e6

    @property
    def timer_overhead_ns(self) -> float:
        """What reading the clock adds to each of `call_ns`: the largest of the processes."""
        return max(process.timer_overhead_ns for process in self.processes)


@dataclass(frozen=True)
class LatencySummary:
    """Latency of single calls in µs, and throughput.

    `p50_us` and `mean_us` come from blocks (see `worker.sampling`), the other percentiles from single calls,
    which include the clock's cost; a percentile is None where there are too few samples, with the reason
    under its name in `unavailable`. `qps` is observations per second: batch size by mean. `samples` counts
    single calls.
    """

    p50_us: float
    p90_us: float | None
    p95_us: float | None
    p99_us: float | None
    p999_us: float | None
    mean_us: float
    qps: float
    samples: int
    stable: bool
    unavailable: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ratio:
    """How many times as fast one subject is as another, with its bootstrap interval.

    Above 1 it is the faster. `pairs` counts the rounds in which the two ran next to each other.
    """

    value: float
    low: float
    high: float
    confidence: float
    pairs: int


@dataclass(frozen=True)
class Measurement:
    """The subjects of one run, measured interleaved. `ring_samples` counts the distinct inputs used."""

    subjects: tuple[SubjectSamples, ...]
    settings: MeasurementSettings
    ring_samples: int
    _ratios: dict[tuple[str, str], Ratio] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Those that were asked for: resampling takes a tenth of a second, and a report asks again and again."""

    def samples(self, label: str) -> SubjectSamples:
        """The raw samples of a subject; raises MeasurementError for a label that was not measured."""
        for subject in self.subjects:
            if subject.label == label:
                return subject
        known = ", ".join(subject.label for subject in self.subjects)
        raise MeasurementError(f"{label!r} was not measured; this run holds {known}")

    def summary(self, label: str) -> LatencySummary:
        """The latency figures of a subject."""
        subject = self.samples(label)
        calls = subject.call_ns
        tails: dict[str, float | None] = {}
        unavailable: dict[str, str] = {}
        for name, percent in (("p90_us", 90.0), ("p95_us", 95.0), ("p99_us", 99.0), ("p999_us", 99.9)):
            shortage = statistics.too_few(calls.size, percent)
            if shortage is not None:
                unavailable[name] = shortage
            tails[name] = None if shortage else statistics.percentile(calls, percent) / 1e3
        mean_ns = float(subject.block_ns.mean())
        return LatencySummary(
            p50_us=statistics.percentile(subject.block_ns, 50.0) / 1e3,
            p90_us=tails["p90_us"],
            p95_us=tails["p95_us"],
            p99_us=tails["p99_us"],
            p999_us=tails["p999_us"],
            mean_us=mean_ns / 1e3,
            qps=self.settings.batch / mean_ns * 1e9,
            samples=int(calls.size),
            stable=subject.stable,
            unavailable=unavailable,
        )

    def ratio(self, base: str, label: str) -> Ratio:
        """The speed-up of `label` over `base`, paired by round; above 1, `label` is the faster."""
        if (base, label) not in self._ratios:
            left = [process.round_medians_ns for process in self.samples(base).processes]
            right = [process.round_medians_ns for process in self.samples(label).processes]
            self._ratios[base, label] = self._compared(left, right)
        return self._ratios[base, label]

    def steady(self, label: str, base: str) -> bool:
        """Whether the median of `label` and its speed-up over `base` are both told to within 10 %."""
        if not self.samples(label).stable:
            return False
        ratio = self.ratio(base, label)
        return statistics.width(ratio.low, ratio.high) <= statistics.STEADY_WIDTH

    def joined(self, more: Measurement) -> Measurement:
        """The same subjects over the processes of both. Raises MeasurementError where they differ."""
        if [subject.label for subject in self.subjects] != [subject.label for subject in more.subjects]:
            raise MeasurementError("only measurements of the same subjects can be joined")
        pairs = zip(self.subjects, more.subjects, strict=True)
        subjects = tuple(replace(a, processes=(*a.processes, *b.processes)) for a, b in pairs)
        settings = replace(
            self.settings,
            processes=self.settings.processes + more.settings.processes,
            max_seconds=self.settings.max_seconds + more.settings.max_seconds,
        )
        return replace(self, subjects=subjects, settings=settings)

    def noise(self, label: str) -> float:
        """How far from 1 a ratio can lie with nothing behind it, as a fraction (0.03 is 3 %).

        An A/A test: the subject's even rounds are compared with its odd ones in the way of `ratio`. The
        result is the distance from 1 of the farther end of that interval.
        """
        even, odd = statistics.neighbours(
            [process.round_medians_ns for process in self.samples(label).processes]
        )
        ratio = self._compared(even, odd)
        return max(ratio.high, 1.0 / ratio.low) - 1.0

    def _compared(self, left: list[Array], right: list[Array]) -> Ratio:
        value = statistics.ratio_of_rounds(left, right)
        low, high = statistics.ratio_interval(left, right, seed=self.settings.seed)
        # Resampling can miss the estimate itself when there are few rounds; an interval holds its value.
        low, high = min(low, value), max(high, value)
        return Ratio(value, low, high, statistics.CONFIDENCE, sum(rounds.size for rounds in left))
