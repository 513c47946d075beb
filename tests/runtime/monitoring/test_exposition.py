"""What a scrape reads, parsed back by Prometheus's own parser."""

from __future__ import annotations

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from grandopt.runtime.cache.levels.base import LevelCounts
from grandopt.runtime.cache.stats import CacheStats, LevelStats
from grandopt.runtime.monitoring.alerts import Rule
from grandopt.runtime.monitoring.exposition import BUCKETS_NS, exposition
from grandopt.runtime.monitoring.gpu import GpuReading
from grandopt.runtime.monitoring.monitor import Monitor
from grandopt.runtime.monitoring.process import ProcessReader
from grandopt.runtime.monitoring.sources import AgentSource
from tests.runtime.monitoring.serving import Clock, Service, monitor

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scraped(watch: Monitor) -> tuple[Samples, dict[str, str]]:
    """Samples by name and labels, and the types of families by name."""
    samples, types = {}, {}
    for family in text_string_to_metric_families(exposition(watch).decode()):
        assert family.name not in types, "a family must be there once"
        types[family.name] = family.type
        for sample in family.samples:
            samples[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return samples, types


def test_figures_are_read_back() -> None:
    clock, service = Clock(), Service()
    watch = monitor(clock, rules=[Rule("deep", "depth", 1)])
    watch.watch(AgentSource("gate", service.stats))
    service.serve(640, ns=50_000, rows=64)
    service.counts.update(depth=7, missed=3, queued_bytes=4256)
    service.rejected["deadline"] += 5
    watch.look()
    samples, types = scraped(watch)
    gate = ("agent", "gate")
    assert samples["grandopt_requests_total", (gate, ("outcome", "answered"))] == 640
    assert samples["grandopt_requests_total", (gate, ("outcome", "missed"))] == 3
    assert samples["grandopt_requests_rejected_total", (gate, ("reason", "deadline"))] == 5
    assert samples["grandopt_queue_rows", (gate,)] == 7
    assert samples["grandopt_batches_total", (gate, ("reason", "full"))] == 10
    assert samples["grandopt_batches_by_rows_total", (gate, ("rows", "64"))] == 10
    assert samples["grandopt_alert_firing", (gate, ("alert", "deep"), ("severity", "warning"))] == 1
    assert samples["grandopt_process_resident_bytes", ()] == 100_000_000
    assert samples["grandopt_request_latency_seconds_count", (gate,)] == 640
    np.testing.assert_allclose(samples["grandopt_request_latency_seconds_sum", (gate,)], 640 * 50e-6)
    assert types["grandopt_request_latency_seconds"] == "histogram"
    assert types["grandopt_requests"] == "counter"
    assert types["grandopt_queue_rows"] == "gauge"
    assert not [name for name in types if "cache" in name or "gpu" in name or "input" in name]


def test_buckets_begin_at_a_microsecond_and_are_exact() -> None:
    clock, service = Clock(), Service()
    watch = monitor(clock)
    watch.watch(AgentSource("gate", service.stats))
    for ns in (1_000, 1_024, 5_000, 2_000_000):
        service.serve(10, ns=ns)
    samples, _ = scraped(watch)
    counts = {
        float(dict(labels)["le"]): value
        for (name, labels), value in samples.items()
        if name == "grandopt_request_latency_seconds_bucket"
    }
    assert len(counts) == len(BUCKETS_NS) + 1
    assert min(counts) == 1.024e-6
    assert [counts[limit] for limit in (1.024e-6, 2.048e-6, 8.192e-6, float("inf"))] == [10, 20, 30, 40]


def test_names_of_any_letters_and_several_engines() -> None:
    clock, services = Clock(), [Service(), Service()]
    watches = [monitor(clock), monitor(clock)]
    for watch, service in zip(watches, services, strict=True):
        watch.watch(AgentSource('a "quoted"\\ name\nof two lines', service.stats))
    services[0].serve(1)
    services[1].serve(2)
    for watch, expected in zip(watches, (1, 2), strict=True):
        samples, _ = scraped(watch)
        labels = (("agent", 'a "quoted"\\ name\nof two lines'), ("outcome", "answered"))
        assert samples["grandopt_requests_total", labels] == expected


def test_caches_and_gpus_that_are_there() -> None:
    clock, service = Clock(), Service()
    level = LevelStats("memory", True, LevelCounts(hits=9, misses=1, entries=4, bytes=100), 1e-6, None, None)
    gpu = GpuReading(0, "H", 0.5, 1 << 30, None)
    watch = Monitor(process=ProcessReader(gpus=lambda: (gpu,)), clock=clock, wall=clock)
    watch.watch(AgentSource("gate", service.stats, cache=lambda: CacheStats((level,), 0, 0)))
    samples, _ = scraped(watch)
    where = (("agent", "gate"), ("level", "memory"))
    assert samples["grandopt_cache_hits_total", where] == 9
    assert samples["grandopt_cache_bytes", where] == 100
    assert samples["grandopt_gpu_busy_ratio", (("gpu", "0"), ("name", "H"))] == 0.5
    assert ("grandopt_gpu_memory_bytes", (("gpu", "0"), ("name", "H"))) not in samples
