"""What a scrape of a server that has served says."""

from __future__ import annotations

from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as text_format

from grandopt.serving.dashboard.scrape import Scrape, metrics_route
from grandopt.serving.metrics.families import OPENMETRICS
from grandopt.serving.plane.plane import DataPlane
from grandopt.serving.routes import HttpRequest
from tests.serving.metrics.served import run


def scraped(accept: str = "", workers: int = 1, **changes: Any) -> tuple[str, str]:
    async def body(plane: DataPlane) -> tuple[str, str]:
        scrape = Scrape(plane)

        async def others() -> list[str]:
            return [await scrape.text() for _ in range(workers - 1)]

        route = metrics_route(scrape, others if workers > 1 else None)
        assert (route.method, route.path, route.changes) == ("GET", "/metrics", False)
        answer = await route.handler(HttpRequest("GET", "/metrics", {}, {}, {"accept": accept}, b""))
        return answer.body.decode(), answer.content_type

    return run(body, **changes)


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Values by name and the values of the labels.

    The parser puts `_total` on counters that have no such end; Triton's have none in the text.
    """
    assert "_total{" not in "".join(line for line in text.splitlines() if line.startswith("nv_"))
    return {
        (_plain(sample.name), *sample.labels.values()): sample.value
        for one in text_format(text)
        for sample in one.samples
    }


def _plain(name: str) -> str:
    return name.removesuffix("_total") if name.startswith("nv_") else name


def test_counts_are_those_of_the_requests_that_were_made() -> None:
    found = samples(scraped()[0])
    assert found["nv_inference_request_success", "gate", "1"] == 100
    assert found["nv_inference_count", "gate", "1"] == 100
    assert found["nv_inference_request_failure", "broken", "1", "BACKEND"] == 2
    assert found["nv_inference_request_failure", "gate", "1", "OTHER"] == 3
    assert found["nv_inference_request_failure", "gate", "1", "REJECTED"] == 0
    assert found["nv_inference_request_duration_us", "gate", "1"] > 0
    assert found["nv_inference_request_duration_us", "gate", "1"] >= sum(
        found[f"nv_inference_{part}_duration_us", "gate", "1"]
        for part in ("queue", "compute_input", "compute_infer", "compute_output")
    )
    assert found["nv_inference_pending_request_count", "gate", "1"] == 0
    assert found["grandopt_requests_total", "gate", "answered"] == 100
    assert found["grandopt_requests_total", "broken", "failed"] == 2
    assert found["grandopt_request_latency_seconds_count", "gate"] == 100
    assert found["grandopt_request_latency_seconds_bucket", "gate", "+Inf"] == 100
    assert found["grandopt_request_latency_seconds_bucket", "gate", "1.024e-06"] <= 100
    assert [key[2] for key in found if key[0] == "grandopt_server_info"] == ["standard"]
    assert found["grandopt_agent_replacements_total", "gate"] == 0
    assert sum(count for key, count in found.items() if key[0] == "grandopt_batches_total") >= 1
    assert found["grandopt_process_resident_bytes",] > 10_000_000


def test_without_monitoring_the_same_is_counted() -> None:
    found = samples(scraped(monitoring=False)[0])
    assert found["grandopt_requests_total", "gate", "answered"] == 100
    assert found["grandopt_process_resident_bytes",] > 10_000_000


def test_without_batches_too() -> None:
    found = samples(scraped(batching=False, adaptation=False, monitoring=False)[0])
    assert found["grandopt_requests_total", "gate", "answered"] == 100
    assert found["nv_inference_request_failure", "broken", "1", "BACKEND"] == 2
    assert ("grandopt_queue_rows", "gate") not in found


def test_openmetrics_for_who_asks() -> None:
    text, content_type = scraped(OPENMETRICS)
    assert content_type == OPENMETRICS
    assert text.endswith("# EOF\n")
    names = {one.name for one in openmetrics(text)}
    assert {"grandopt_requests", "nv_inference_count", "grandopt_request_latency_seconds"} <= names


def test_three_workers_add_up() -> None:
    one, three = samples(scraped()[0]), samples(scraped(workers=3)[0])
    assert three["nv_inference_count", "gate", "1"] == 300
    assert three["grandopt_request_latency_seconds_count", "gate"] == 300
    assert [three[key] for key in three if key[0] == "grandopt_server_info"] == [1]
    assert three["nv_cpu_memory_total_bytes",] == one["nv_cpu_memory_total_bytes",]
