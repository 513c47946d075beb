"""A fleet for tests; the figures are examples and were never measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from grandopt.reporting.fleet.fleet import Source
from grandopt.reporting.history.records import Record, agent_records, run_record
from grandopt.reporting.report import AgentReport, Report
from tests.reporting.history.records import agent, run
from tests.reporting.samples import kept

OLD = {"identity": "aa" * 32, "cpu_model": "AMD EPYC, Zen 4", "libraries": {"torch": "2.12.0"}}
NEW = {"identity": "bb" * 32, "cpu_model": "Intel Xeon, Sapphire Rapids", "libraries": {"torch": "2.13.0"}}


def on(machine: dict[str, Any], day: int, *agents: AgentReport, grandopt: str = "0.1.0") -> Report:
    return run(day, *agents, environment=machine, grandopt=grandopt)


def records(*reports: Report) -> tuple[Record, ...]:
    return tuple(Record(run_record(one), found) for one in reports for found in agent_records(one))


def source(place: str, *reports: Report) -> Source:
    return Source(place, records(*reports))


def three_versions(levels: Sequence[float], originals: Sequence[float]) -> list[Report]:
    """Three runs by each version, on one machine."""
    return [
        on(OLD, 3 * place + day, agent(level, original), grandopt=f"0.{place + 1}.0")
        for place, (level, original) in enumerate(zip(levels, originals, strict=True))
        for day in range(3)
    ]


def mixed() -> list[Source]:
    """Two kinds of machine: a gate on both, and another agent that only one of them has optimized."""
    return [
        source("a/history.sqlite", *three_versions([20.0, 20.0, 30.0], [50.0] * 3)),
        source(
            "b/report.json", on(NEW, 40, agent(2.0), agent(5.0, name="embedder"), kept(), grandopt="0.3.0")
        ),
    ]
