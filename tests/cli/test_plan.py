"""`grandopt plan` and `grandopt report fleet` as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from grandopt.cli.app import main
from grandopt.cli.quantities import parse_time_ms
from grandopt.errors import ConfigError
from grandopt.reporting.report import write_report
from tests.reporting.fleet.machines import NEW, on
from tests.reporting.history.records import agent
from tests.serving.artifacts import put, scaled


@pytest.mark.parametrize(
    ("text", "ms"), [("500us", 0.5), ("2ms", 2.0), ("1s", 1000.0), ("1.5 µs", 0.0015), ("1e3NS", 0.001)]
)
def test_a_time_is_read_with_its_unit(text: str, ms: float) -> None:
    assert parse_time_ms("--p99", text) == pytest.approx(ms)


@pytest.mark.parametrize("text", ["2", "ms", "-1ms", "0s", "1..2ms", "nan ms", "2h", "1e9s"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--p99 must be a time above 0 with its unit"):
        parse_time_ms("--p99", text)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--p99", "1ms"], "--qps N"),
        (["--p99", "1ms", "--qps", "-1"], "--qps must be above 0"),
        (["--p99", "1ms", "--qps", "nan"], "--qps must be above 0"),
        (["--p99", "1ms", "--qps", "1", "--cores", "0"], "--cores must be above 0"),
        (["--p99", "1ms", "--qps", "1", "--check", "--machines", "2"], "leave it out with --check"),
        (["--p99", "1ms", "--trace", "absent.csv"], "absent.csv: cannot be read"),
        (["--p99", "1ms", "--qps", "1"], "absent: no such artifact"),
    ],
)
def test_bad_input_is_one_line(args: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "absent", *args]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.slow
def test_a_plan_of_a_real_artifact(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = put(scaled(2.0, engine="native"), tmp_path / "agent")
    trace = tmp_path / "arrivals.npy"
    np.save(trace, np.sort(np.random.default_rng(0).random(20_000)))
    given = ["--p99", "500ms", "--cores", "4", "--json", "--quiet"]
    assert main(["plan", str(place), "--qps", "1e6", *given]) == 0
    poisson = json.loads(capsys.readouterr().out)
    assert poisson["replicas"] >= poisson["needed"] > 0
    assert poisson["machines"] == -(-poisson["replicas"] // poisson["per_machine"])
    assert poisson["replica"]["turns"][0]["rows"] == 1
    assert main(["plan", str(place), "--trace", str(trace), *given]) == 0
    assert json.loads(capsys.readouterr().out)["arrivals"] == "recorded"
    assert main(["plan", str(place), "--qps", "1e3", "--p99", "1ns", "--json", "--quiet"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["met"] is False
    assert err.count("\n") == 1
    assert "ask for a --p99 above that" in err


def test_a_fleet_is_shown_although_one_report_is_broken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_report(on(NEW, 1, agent(3.0)), tmp_path / "reports" / "optimization_report.json")
    (tmp_path / "reports" / "load_report.json").write_text("{", encoding="utf-8")
    page = tmp_path / "fleet.html"
    assert main(["report", "fleet", str(tmp_path / "reports"), "--output", str(page)]) == 1
    out, err = capsys.readouterr()
    assert "decision_gate" in out
    assert "Sapphire Rapids (bbbbbbbb)" in out
    assert "load_report.json" in err
    assert err.count("\n") == 1
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert main(["report", "fleet", str(tmp_path / "reports"), "--output", str(page), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["agents"][0]["machine_kinds"][0]["p50_us"] == 3.0
    assert len(document["unread"]) == 1


def test_the_page_replaces_no_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "optimization_report.json"
    write_report(on(NEW, 1, agent(3.0)), report)
    before = report.read_bytes()
    assert main(["report", "fleet", str(report), "--output", str(report)]) == 2
    assert "must not replace" in capsys.readouterr().err
    assert report.read_bytes() == before
