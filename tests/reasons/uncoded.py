"""Which parts of a report lack the code of their reason."""

from __future__ import annotations

from grandopt.reporting.evidence import tuning
from grandopt.reporting.report import CandidateReport, RefusalReport, Report

WITHOUT = ("chosen", "optimized", "measured")
"""What needs no reason. An agent that was measured may say what was best in its place."""


def uncoded(report: Report) -> list[str]:
    """The agents, candidates, refusals and trials that should have a code and have none."""
    found = []
    for agent in report.agents:
        if agent.status not in WITHOUT and agent.reason_code is None:
            found.append(f"{agent.name}: {agent.status}")
        rows: list[CandidateReport | RefusalReport] = [*agent.candidates, *agent.refusals]
        for row in rows:
            status = getattr(row, "status", "refusal")
            if status not in WITHOUT and row.reason_code is None:
                found.append(f"{agent.name}: {status}: {row.reason}")
        study = tuning(agent)
        found += [
            f"{agent.name}: trial {trial.number}"
            for trial in (() if study is None else study.trials)
            if trial.state == "infeasible" and trial.reason_code is None
        ]
    return found
