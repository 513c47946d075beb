"""Results of the gate for tests, built from the real models. The figures are examples, never measured."""

from __future__ import annotations

from typing import Any

from grandopt.reason import ReasonCode
from grandopt.reporting.gate.result import (
    AgentGate,
    ComparisonEvidence,
    FigureReport,
    GateReport,
    SideReport,
    outcome_of,
)

CODES = {"inconclusive": ReasonCode.UNDECIDED, "skipped": ReasonCode.NOT_MEASURED}


def figure(outcome: str = "pass", **changes: Any) -> FigureReport:
    change = {"pass": 0.001, "regression": 0.102, "inconclusive": 0.04}.get(outcome)
    values: dict[str, Any] = {
        "figure": "p50",
        "outcome": outcome,
        "limit": 0.05,
        "unit": "µs",
        "baseline": 0.568,
        "candidate": 0.626,
        "change": change,
        "low": None if change is None else change - 0.02,
        "high": None if change is None else change + 0.02,
        "confidence": 0.998,
        "bootstrap": None if change is None else (change - 0.004, change + 0.004),
        "noise": 0.012,
        "processes": 4,
        "more": 9 if outcome == "inconclusive" else None,
        "evidence": ComparisonEvidence(change=(0.1, 0.1, 0.09, 0.1), noise=(0.0, 0.001, 0.0, -0.001)),
        "reason": "was not measured" if outcome == "skipped" else None,
        "reason_code": CODES.get(outcome),
    }
    return FigureReport(**(values | changes))


def agent(*figures: FigureReport, name: str = "gate", **changes: Any) -> AgentGate:
    figures = figures or (figure(),)
    values: dict[str, Any] = {
        "name": name,
        "outcome": outcome_of(row.outcome for row in figures if not row.advisory),
        "baseline": SideReport(path="main/gate", engine="native", precision="float32", digest="0" * 64),
        "candidate": SideReport(path="artifacts/gate", engine="native", precision="int8", digest="1" * 64),
        "threads": 1,
        "figures": figures,
        "seconds": 2.75,
    }
    return AgentGate(**(values | changes))


def gate(*agents: AgentGate, **changes: Any) -> GateReport:
    agents = agents or (agent(),)
    values: dict[str, Any] = {
        "mode": "artifacts",
        "outcome": outcome_of(item.outcome for item in agents),
        "baseline": "main",
        "candidate": "artifacts",
        "command": ("grandopt", "compare", "main", "artifacts"),
        "started": "2026-01-02T03:04:05.250Z",
        "finished": "2026-01-02T03:04:08Z",
        "duration_s": 2.75,
        "grandopt": "0.1.0",
        "environment": {"cpu_model": "a CPU"},
        "seed": 0,
        "alpha": 0.01,
        "agents": agents,
    }
    return GateReport(**(values | changes))
