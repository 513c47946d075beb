"""Figures under Triton's names, so that what was made for its metrics fills."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import psutil

from grandopt.runtime.engine.stats import AgentStats
from grandopt.serving.metrics.families import Family, family

DURATIONS = {
    "request": ("success", "Time of successful requests in the server, summed, in microseconds."),
    "queue": ("queue", "Time that requests waited, summed, in microseconds."),
    "compute_input": ("compute_input", "Time to bring inputs into batches, summed, in microseconds."),
    "compute_infer": ("compute_infer", "Time in which agents computed, summed, in microseconds."),
    "compute_output": ("compute_output", "Time to take answers out of batches, summed, in microseconds."),
}
"""Triton's name of a duration, where it stands in the statistics, and what it is."""

REASONS = ("REJECTED", "CANCELED", "BACKEND", "OTHER")


def triton_families(
    model_stats: Iterable[Mapping[str, Any]],
    failures: Mapping[str, Mapping[str, int]],
    agents: Mapping[str, AgentStats],
) -> list[Family]:
    """All `nv_*` families for `model_stats` of the protocol's statistics.

    `failures` are requests that failed, by model and by Triton's reason; `agents` are the engine's, by model.
    """
    models = list(model_stats)
    return [*_requests(models, failures, agents), *_durations(models), *_caches(models), *_machine()]


def _requests(
    models: list[Mapping[str, Any]],
    failures: Mapping[str, Mapping[str, int]],
    agents: Mapping[str, AgentStats],
) -> list[Family]:
    success = family("nv_inference_request_success", "counter", "Requests that were answered.")
    failure = family("nv_inference_request_failure", "counter", "Requests that were not, by reason.")
    count = family("nv_inference_count", "counter", "Observations that were computed; a batch of n is n.")
    executions = family("nv_inference_exec_count", "counter", "Batches that were computed.")
    pending = family("nv_inference_pending_request_count", "gauge", "Rows that wait.")
    for model in models:
        labels, figures = _labels(model), model["inference_stats"]
        success.add(labels, figures["success"]["count"])
        agent = agents.get(model["name"])
        failed = failures.get(model["name"], {})
        for reason in REASONS:
            failure.add([*labels, ("reason", reason)], failed.get(reason, 0))
        count.add(labels, model["inference_count"])
        executions.add(labels, model["execution_count"])
        pending.add(labels, 0 if agent is None or agent.batches is None else agent.batches.depth)
    return [success, failure, count, executions, pending]


def _durations(models: list[Mapping[str, Any]]) -> list[Family]:
    found = []
    for name, (member, text) in DURATIONS.items():
        one = family(f"nv_inference_{name}_duration_us", "counter", text)
        for model in models:
            one.add(_labels(model), model["inference_stats"][member]["ns"] // 1000)
        found.append(one)
    return found


def _caches(models: list[Mapping[str, Any]]) -> list[Family]:
    """How often; how long look-ups take is not measured, so that there are no durations."""
    found = []
    for member, words in (("hit", "an answer was found"), ("miss", "none was found")):
        plural = "hits" if member == "hit" else "misses"
        number = family(f"nv_cache_num_{plural}_per_model", "counter", f"Requests for which {words}.")
        for model in models:
            number.add(_labels(model), model["inference_stats"][f"cache_{member}"]["count"])
        found.append(number)
    return found


def _machine() -> list[Family]:
    """The machine's, as Triton's: since the call before, so nothing at the first."""
    busy = family("nv_cpu_utilization", "gauge", "Share of the machine's processor time in use, 0 to 1.")
    busy.add([], psutil.cpu_percent() / 100)
    memory = psutil.virtual_memory()
    total = family("nv_cpu_memory_total_bytes", "gauge", "Memory of the machine.")
    total.add([], memory.total)
    used = family("nv_cpu_memory_used_bytes", "gauge", "Memory of the machine in use.")
    used.add([], memory.total - memory.available)
    return [busy, total, used]


def _labels(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [("model", model["name"]), ("version", model["version"])]
