"""Histories for tests; the figures are examples and were never measured."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from grandopt.reporting.history.store import append
from grandopt.reporting.report import AgentReport, Report
from tests.reporting.samples import figures, optimized, report, shipped

MACHINE = {"identity": "ab" * 32, "cpu_model": "a CPU", "libraries": {"torch": "2.13.0"}}


def run(day: int, *agents: AgentReport, **changes: Any) -> Report:
    """The run of a day."""
    moment = (datetime(2026, 1, 1) + timedelta(days=day)).isoformat() + "Z"
    return report(*agents, **({"started": moment, "environment": MACHINE} | changes))


def agent(p50_us: float, original_us: float = 50.0, name: str = "decision_gate") -> AgentReport:
    """An optimized agent."""
    return optimized(name, original=figures(original_us), shipped=shipped(p50_us))


def step(path: Path, levels: Sequence[float], originals: Sequence[float] | None = None) -> Path:
    """A history of one agent with these medians, one run a day."""
    for day, p50_us in enumerate(levels):
        append(path, run(day, agent(p50_us, 50.0 if originals is None else originals[day])))
    return path
