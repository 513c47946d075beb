"""Pages of real reports, rendered once."""

from __future__ import annotations

import pytest

from grandopt.reporting.history.store import append, read
from grandopt.reporting.html.page import render
from grandopt.reporting.report import load_report
from tests.reporting.test_golden import NEWEST, golden

HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'&$x^2$\u202e]]>{{ 7 * 7 }}"


@pytest.fixture(scope="session")
def real_page() -> str:
    """The page of the newest golden report."""
    return render(load_report(golden(NEWEST)))


@pytest.fixture(scope="session")
def eight_agents(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of that report with its two agents four times over, and a history of three runs of it; the
    first agent has a hostile name."""
    real = load_report(golden(NEWEST))
    agents = [
        agent.model_copy(update={"name": f"{agent.name}_{n}"}) for n in range(4) for agent in real.agents
    ]
    agents[0] = agents[0].model_copy(update={"name": HOSTILE})
    report = real.model_copy(update={"agents": tuple(agents)})
    history = tmp_path_factory.mktemp("history") / "history.sqlite"
    for _ in range(3):
        append(history, report)
    return render(report, read(history))
