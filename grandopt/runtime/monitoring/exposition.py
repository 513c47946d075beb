"""All figures in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from grandopt.runtime.histogram import LatencyCounts
from grandopt.runtime.monitoring.alerts import Alert
from grandopt.runtime.monitoring.metrics import AgentMetrics, Metrics, ProcessMetrics
from grandopt.runtime.monitoring.monitor import Monitor

BUCKETS_NS = tuple(1 << power for power in range(10, 35))
"""From 1.024 µs to 17 s: powers of two, at which the counts are exact."""


class Exposition(Collector):
    """Gives a monitor's last figures to a registry, taking a look where there was none yet.

    Every engine has a registry of its own (see `registry`): two of them in one would both have every name.
    """

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance: which families there are depends on the parts that are on."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All families that have a sample."""
        metrics = self._monitor.stats().last or self._monitor.look()
        yield from families(metrics, self._monitor.stats().alerts)


def families(metrics: Metrics, alerts: Iterable[Alert] = ()) -> Iterator[Metric]:
    """All families that have a sample, for the figures of one look and the alerts that stand."""
    found = [*_requests(metrics), *_batches(metrics), *_caches(metrics), *_inputs(metrics)]
    found += [*_process(metrics.process), *_gpus(metrics.process), _alerts(alerts)]
    yield from (family for family in found if family.samples)


def registry(monitor: Monitor) -> CollectorRegistry:
    """A registry with the figures of one engine, to be served or scraped."""
    made = CollectorRegistry(auto_describe=False)
    made.register(Exposition(monitor))
    return made


def exposition(monitor: Monitor) -> bytes:
    """The text that a scrape of one engine gets, in UTF-8."""
    return generate_latest(registry(monitor))


def _requests(metrics: Metrics) -> list[Metric]:
    latency = HistogramMetricFamily(
        "grandopt_request_latency_seconds", "From a request's arrival to its answer.", labels=["agent"]
    )
    ended = CounterMetricFamily(
        "grandopt_requests", "Requests that ended, by outcome.", labels=["agent", "outcome"]
    )
    direct = CounterMetricFamily(
        "grandopt_direct_calls", "Answers that were computed on their callers' threads.", labels=["agent"]
    )
    refused = CounterMetricFamily(
        "grandopt_requests_rejected", "Requests that were refused.", labels=["agent", "reason"]
    )
    for name, agent in metrics.agents.items():
        direct.add_metric([name], agent.total.direct)
        latency.add_metric([name], _buckets(agent.total.latency), agent.total.latency.sum_ns / 1e9)
        for outcome in ("answered", "failed", "cancelled", "missed"):
            ended.add_metric([name, outcome], getattr(agent.total, outcome))
        for reason, count in agent.total.rejected.items():
            refused.add_metric([name, reason], count)
    return [latency, ended, refused, direct]


def _buckets(counts: LatencyCounts) -> list[tuple[str, float]]:
    below = zip(BUCKETS_NS, counts.below(BUCKETS_NS), strict=True)
    return [*((repr(limit / 1e9), float(count)) for limit, count in below), ("+Inf", float(counts.total))]


def _batches(metrics: Metrics) -> list[Metric]:
    depth = GaugeMetricFamily("grandopt_queue_rows", "Rows that wait.", labels=["agent"])
    waiting = GaugeMetricFamily("grandopt_queue_bytes", "Bytes of inputs that wait.", labels=["agent"])
    limit = GaugeMetricFamily("grandopt_batch_limit_rows", "The most rows of a batch.", labels=["agent"])
    workers = GaugeMetricFamily(
        "grandopt_workers", "Batches that are computed at once.", labels=["agent", "kind"]
    )
    busy = CounterMetricFamily("grandopt_compute_seconds", "Time in batches.", labels=["agent"])
    released = CounterMetricFamily(
        "grandopt_batches", "Batches, by why they were released.", labels=["agent", "reason"]
    )
    sizes = CounterMetricFamily(
        "grandopt_batches_by_rows", "Batches, by size rounded up to a power of two.", labels=["agent", "rows"]
    )
    for name, agent in metrics.agents.items():
        if agent.settings is None or agent.workers is None:
            continue  # computed directly
        depth.add_metric([name], agent.depth)
        waiting.add_metric([name], agent.queued_bytes)
        limit.add_metric([name], agent.settings.limit)
        workers.add_metric([name, agent.workers], agent.concurrency)
        busy.add_metric([name], agent.total.busy_ns / 1e9)
        for reason, count in agent.total.released.items():
            released.add_metric([name, reason], count)
        for rows, count in sorted(agent.total.rows.items()):
            sizes.add_metric([name, str(rows)], count)
    return [depth, waiting, limit, workers, busy, released, sizes]


def _caches(metrics: Metrics) -> list[Metric]:
    labels = ["agent", "level"]
    hits = CounterMetricFamily("grandopt_cache_hits", "Look-ups that found a value.", labels=labels)
    misses = CounterMetricFamily("grandopt_cache_misses", "Look-ups that found none.", labels=labels)
    entries = GaugeMetricFamily("grandopt_cache_entries", "Values that are kept.", labels=labels)
    size = GaugeMetricFamily("grandopt_cache_bytes", "Bytes that are kept.", labels=labels)
    for name, agent in metrics.agents.items():
        for level in () if agent.cache is None else agent.cache.levels:
            where = [name, level.name]
            hits.add_metric(where, level.counts.hits)
            misses.add_metric(where, level.counts.misses)
            if level.counts.entries is not None:
                entries.add_metric(where, level.counts.entries)
            if level.counts.bytes is not None:
                size.add_metric(where, level.counts.bytes)
    return [hits, misses, entries, size]


def _inputs(metrics: Metrics) -> list[Metric]:
    shift = GaugeMetricFamily(
        "grandopt_input_shift_std",
        "The farthest mean of an input's element from its reference, in reference standard deviations.",
        labels=["agent"],
    )
    drifted = GaugeMetricFamily(
        "grandopt_input_drifted_elements", "Elements of the inputs that have drifted.", labels=["agent"]
    )
    tapped = CounterMetricFamily("grandopt_input_tapped_rows", "Rows that were looked at.", labels=["agent"])
    nonfinite = CounterMetricFamily(
        "grandopt_input_nonfinite_rows", "Tapped rows with NaN or infinity.", labels=["agent"]
    )
    close = GaugeMetricFamily(
        "grandopt_close_decisions_ratio",
        "The share of decisions with a margin that 5 % of the usual ones stay below.",
        labels=["agent", "output"],
    )
    for name, agent in metrics.agents.items():
        _add_drift(agent, shift, drifted, tapped, nonfinite)
        for output in agent.margins or ():
            if output.share is not None:
                close.add_metric([name, output.output], output.share)
    return [shift, drifted, tapped, nonfinite, close]


def _add_drift(
    agent: AgentMetrics,
    shift: GaugeMetricFamily,
    drifted: GaugeMetricFamily,
    tapped: CounterMetricFamily,
    nonfinite: CounterMetricFamily,
) -> None:
    report = agent.drift
    if report is None:
        return
    tapped.add_metric([agent.agent], report.seen)
    nonfinite.add_metric([agent.agent], report.nonfinite)
    if report.largest_shift is not None:
        shift.add_metric([agent.agent], report.largest_shift)
    if report.drifted is not None:
        drifted.add_metric([agent.agent], report.drifted_features)


def _process(process: ProcessMetrics) -> list[Metric]:
    found: list[Metric] = [
        CounterMetricFamily(
            "grandopt_process_cpu_seconds", "CPU time of process and workers.", process.cpu_s
        ),
        GaugeMetricFamily("grandopt_process_granted_cores", "Cores that may be used.", process.granted),
    ]
    for name, text, value in (
        ("resident_bytes", "Memory of process and workers.", process.resident),
        ("memory_limit_bytes", "The most memory that may be used.", process.memory_limit),
    ):
        if value is not None:
            found.append(GaugeMetricFamily(f"grandopt_process_{name}", text, value))
    return found


def _gpus(process: ProcessMetrics) -> list[Metric]:
    labels = ["gpu", "name"]
    busy = GaugeMetricFamily("grandopt_gpu_busy_ratio", "Share of time in which a kernel ran.", labels=labels)
    used = GaugeMetricFamily("grandopt_gpu_memory_used_bytes", "Memory in use.", labels=labels)
    total = GaugeMetricFamily("grandopt_gpu_memory_bytes", "Memory that there is.", labels=labels)
    for gpu in process.gpus:
        where = [str(gpu.index), gpu.name]
        for family, value in ((busy, gpu.busy), (used, gpu.memory_used), (total, gpu.memory_total)):
            if value is not None:
                family.add_metric(where, value)
    return [busy, used, total]


def _alerts(alerts: Iterable[Alert]) -> Metric:
    firing = GaugeMetricFamily(
        "grandopt_alert_firing", "Alerts that fire now.", labels=["alert", "agent", "severity"]
    )
    for alert in alerts:
        if alert.state == "firing":
            firing.add_metric([alert.rule.name, alert.agent, alert.rule.severity], 1)
    return firing
