"""The figures of several workers as those of one server."""

from __future__ import annotations

from collections.abc import Iterable

from grandopt.errors import ConfigError
from grandopt.serving.metrics.families import Family, Kind

LARGEST = frozenset(
    {
        "grandopt_agent_info",
        "grandopt_server_info",
        "grandopt_server_uptime_seconds",
        "grandopt_batch_limit_rows",
        "grandopt_input_shift_std",
        "grandopt_input_drifted_elements",
        "grandopt_close_decisions_ratio",
        "grandopt_process_granted_cores",
        "grandopt_process_memory_limit_bytes",
        "grandopt_gpu_busy_ratio",
        "grandopt_gpu_memory_used_bytes",
        "grandopt_gpu_memory_bytes",
        "grandopt_alert_firing",
        "nv_cpu_utilization",
        "nv_cpu_memory_total_bytes",
        "nv_cpu_memory_used_bytes",
    }
)
"""Gauges that are the machine's, a setting, or a worst case: the largest of the workers' stands. All others
(rows and bytes that wait or are kept, resident memory) add up, as counters and histograms do."""

KINDS: dict[str, Kind] = {"counter": "counter", "gauge": "gauge", "histogram": "histogram"}


def merged(texts: Iterable[str]) -> list[Family]:
    """The families of several workers, given in the text format as `render` writes it.

    Raises ConfigError for a line that is none of it.
    """
    found: dict[str, Family] = {}
    for text in texts:
        for one in parsed(text):
            known = found.get(one.name)
            if known is None:
                found[one.name] = one
                continue
            for where, value in one.samples.items():
                if where not in known.samples:
                    known.samples[where] = value
                elif one.name in LARGEST:
                    known.samples[where] = max(known.samples[where], value)
                else:
                    known.samples[where] += value
    return list(found.values())


def parsed(text: str) -> list[Family]:
    """The families of a text that `render` wrote. Raises ConfigError for a line that is none of it."""
    found: list[Family] = []
    described: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name, _, told = line[7:].partition(" ")
            described[name] = told.replace("\\n", "\n").replace("\\\\", "\\")
        elif line.startswith("# TYPE "):
            name, _, kind = line[7:].partition(" ")
            if kind not in KINDS:
                raise ConfigError(f"metrics: {name!r:.60} is of type {kind!r:.40}, not one of {list(KINDS)}")
            found.append(Family(name, KINDS[kind], described.get(name, ""), {}))
        elif line:
            where, _, value = line.rpartition(" ")
            if not found or not where.startswith(found[-1].name):
                raise ConfigError(f"metrics: not a sample of the family above it: {line!r:.100}")
            try:
                found[-1].samples[where] = float(value)
            except ValueError as error:
                raise ConfigError(f"metrics: the value is no number: {line!r:.100}") from error
    return found
