"""Real jobs with hardly any time: what did not come to be has a code, in every kind of report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from grandopt.config.load import Overrides, resolve
from grandopt.config.schema import AgentConfig, FileConfig, Job
from grandopt.reason import IN_TIME, ReasonCode
from grandopt.reporting.report import Report, load_report
from grandopt.workflows.benchmark.benchmark import Benchmark, benchmark_job
from grandopt.workflows.optimize import REPORT, optimize_job
from grandopt.workflows.tune import Wish, tune_job
from tests.reasons.uncoded import uncoded


def job(folder: Path, budget_s: float, **changes: Any) -> Job:
    agents = {"lvn_embedder": AgentConfig(reference="lvn_embedder")}
    wanted = Overrides(output=folder, budget_s=budget_s, **changes)
    return resolve(FileConfig(), agents, wanted)


def late(report: Report) -> bool:
    return any(row.reason_code in IN_TIME for agent in report.agents for row in agent.candidates)


@pytest.mark.slow
def test_an_optimization_without_time(tmp_path: Path) -> None:
    done = optimize_job(job(tmp_path, 3.0))
    assert uncoded(done) == []
    assert late(done)
    assert load_report(tmp_path / REPORT) == done
    (agent,) = done.agents
    assert {item.reason_code for item in agent.refusals} <= {
        ReasonCode.NEEDS_SAMPLES,
        ReasonCode.NEEDS_EVIDENCE,
    }
    topics = {item.topic: item for item in agent.recommendations}
    assert {"budget", "samples"} <= set(topics)
    # The second run finds out of the store what was too slow for the first, with the same codes.
    again = optimize_job(job(tmp_path, 3.0))
    assert uncoded(again) == []


@pytest.mark.slow
def test_a_benchmark_and_a_search(tmp_path: Path) -> None:
    engines = ("native", "torchscript", "eager")
    ranked = benchmark_job(job(tmp_path / "benchmark", 8.0, engines=engines), Benchmark())
    assert uncoded(ranked) == []
    (agent,) = ranked.agents
    codes = {row.label: row.reason_code for row in agent.candidates}
    assert codes["executorch/float32"] is ReasonCode.ENGINE_MISSING
    assert ReasonCode.SLOWER in codes.values()
    found = tune_job(job(tmp_path / "tune", 8.0, engines=engines, trials=3), Wish())
    assert uncoded(found) == []
    (agent,) = found.agents
    assert agent.status == "measured"
