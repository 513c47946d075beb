"""Two reports against each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from grandopt.config.gate import parse_limits
from grandopt.errors import ConfigError, ReportError
from grandopt.reporting.figures import RatioReport
from grandopt.reporting.gate.result import FigureReport, GateReport
from grandopt.reporting.report import AgentReport, write_report
from grandopt.workflows.gate.compare import Gate, compare_job
from tests.reporting.samples import failed, optimized, report, shipped

HERE = {"cpu_model": "a CPU", "identity": "a" * 64, "python": "CPython 3.11.7", "libraries": {}}


def speedup(value: float, width: float = 0.01) -> RatioReport:
    return RatioReport(value=value, low=value * (1 - width), high=value * (1 + width), pairs=135)


def faster(value: float, width: float = 0.01, digest: str = "0", **changes: Any) -> AgentReport:
    return optimized(
        speedup=speedup(value, width), shipped=shipped(50.0 / value, digest=digest * 64, **changes)
    )


def compared(folder: Path, old: AgentReport, new: AgentReport, *limits: str) -> GateReport:
    write_report(report(old, environment=HERE), folder / "old.json")
    write_report(report(new, environment=HERE), folder / "new.json")
    gate = Gate(config=parse_limits(None, list(limits)))
    return compare_job(str(folder / "old.json"), str(folder / "new.json"), gate)


def row(found: GateReport, name: str) -> FigureReport:
    return next(figure for figure in found.agents[0].figures if figure.figure == name)


@pytest.mark.parametrize(
    ("after", "width", "outcome"),
    [(2.0, 0.001, "pass"), (1.6, 0.001, "regression"), (1.95, 0.02, "inconclusive"), (2.6, 0.001, "pass")],
)
def test_speed_is_compared_through_the_original(
    tmp_path: Path, after: float, width: float, outcome: str
) -> None:
    found = compared(tmp_path, faster(2.0, width), faster(after, width, digest="1"))
    p50 = row(found, "p50")
    assert (found.mode, found.outcome, p50.outcome) == ("reports", outcome, outcome)
    assert p50.change == pytest.approx(2.0 / after - 1)
    assert p50.low is not None
    assert p50.high is not None
    assert p50.low < 2.0 / after - 1 < p50.high


def test_the_same_artifact_is_no_regression(tmp_path: Path) -> None:
    p50 = row(compared(tmp_path, faster(2.0, 0.3), faster(1.9, 0.3)), "p50")
    assert p50.outcome == "pass"
    assert p50.reason is not None
    assert "same artifact" in p50.reason


def test_figures_without_an_interval_decide_nothing(tmp_path: Path) -> None:
    found = compared(tmp_path, faster(2.0), faster(2.0), "p99=20%", "instructions=1%", "memory=10%")
    assert row(found, "p99").outcome == "inconclusive"
    assert row(found, "instructions").outcome == "inconclusive"
    assert row(found, "memory").outcome == "pass"
    assert found.outcome == "inconclusive"


def test_errors_are_compared_where_they_were_verified(tmp_path: Path) -> None:
    accuracy = row(compared(tmp_path, faster(2.0), faster(2.0)), "accuracy")
    assert (accuracy.outcome, accuracy.baseline, accuracy.candidate) == ("pass", 1e-3, 1e-3)
    exact = faster(2.0, precision="float32", label="torchscript/float32")
    tight = row(compared(tmp_path, exact, faster(2.0), "accuracy=0.0005"), "accuracy")
    assert (tight.outcome, tight.baseline, tight.candidate) == ("regression", 0.0, 1e-3)


def test_reports_of_two_machines_are_refused(tmp_path: Path) -> None:
    write_report(report(environment=HERE), tmp_path / "old.json")
    write_report(report(environment=HERE | {"identity": "b" * 64}), tmp_path / "new.json")
    with pytest.raises(
        ReportError, match=r"from different machines \(a CPU, identity aaaa.*compare the artif"
    ):
        compare_job(str(tmp_path / "old.json"), str(tmp_path / "new.json"), Gate())


def test_reports_of_other_threads_are_refused(tmp_path: Path) -> None:
    write_report(report(environment=HERE), tmp_path / "old.json")
    write_report(report(environment=HERE, threads=2), tmp_path / "new.json")
    with pytest.raises(ReportError, match="measure both with the same number"):
        compare_job(str(tmp_path / "old.json"), str(tmp_path / "new.json"), Gate())


def test_an_agent_in_only_one_report_is_refused_unless_others_are_named(tmp_path: Path) -> None:
    both, more = optimized("gate"), optimized("more")
    write_report(report(both, environment=HERE), tmp_path / "old.json")
    write_report(report(both, more, environment=HERE), tmp_path / "new.json")
    names = str(tmp_path / "old.json"), str(tmp_path / "new.json")
    with pytest.raises(ConfigError, match=r"more: not in the baseline \(.*old\.json\)"):
        compare_job(*names, Gate())
    assert [agent.name for agent in compare_job(*names, Gate(agents=("gate",))).agents] == ["gate"]
    with pytest.raises(ConfigError, match=r"agent 'less' is in neither of the two; both have gate"):
        compare_job(*names, Gate(agents=("less",)))


def test_a_report_without_anything_shipped_is_refused(tmp_path: Path) -> None:
    write_report(report(failed(), environment=HERE), tmp_path / "old.json")
    with pytest.raises(ReportError, match="holds no shipped agent with figures"):
        compare_job(str(tmp_path / "old.json"), str(tmp_path / "old.json"), Gate())
