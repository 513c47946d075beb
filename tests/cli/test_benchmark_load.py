"""What `grandopt benchmark --load` asks for and shows."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from grandopt.artifacts.store import Store
from grandopt.cli.commands.benchmarks.load import load_plan
from grandopt.cli.option_groups import LoadOptions
from grandopt.cli.render.load import load_lines
from grandopt.cli.render.load_drawing import drawing
from grandopt.compiler.build import original
from grandopt.errors import ConfigError, InputError
from grandopt.reporting.load import factors
from grandopt.reporting.report import AgentReport, LoadCurveReport, load_report
from tests.cli.conftest import Grandopt, assert_one_error_line
from tests.reporting.samples import load_curve, load_point, report
from tests.small_agents import Policy, program


def shown(*curves: LoadCurveReport, width: int = 80) -> str:
    agent = AgentReport(name="gate", status="measured", reason="under load", loads=curves)
    console = Console(width=width, file=io.StringIO(), color_system=None)
    with console.capture() as captured:
        console.print(*load_lines(report(agent, kind="benchmark")), sep="\n", highlight=False)
    return captured.get()


def test_it_fits_eighty_columns_and_says_what_a_factor_is_against() -> None:
    absent = LoadCurveReport(
        label="eager", arrivals="poisson", seconds=1, warmup_s=0, reason="none is carried"
    )
    text = shown(load_curve(), load_curve("one call after the other", 0.25), absent)
    assert max(map(len, text.splitlines())) <= 80
    rows = [line.split() for line in text.splitlines()]
    assert ["10.0k", "10.0k", "20.0", "µs", "50.0", "µs", "–", "9.90k", "–", "9.00", "µs"] in rows
    over = next(row for row in rows if row[:2] == ["150k", "100k"])
    assert {"32.7", "!~"} <= set(over)
    assert "1000" in text
    assert "lost" in text
    assert "engine, aggressive: sustains 100k/s" in text
    assert "eager: not measured: none is carried" in text
    assert "engine, aggressive takes 4× the rate of one call after the other" in text
    assert "…" not in text


def test_callers_stand_in_the_place_of_rates() -> None:
    points = tuple(load_point(1e4, 50.0, callers=count) for count in (1, 64))
    text = shown(load_curve(arrivals="callers", points=points, saturation=None))
    assert "callers" in text
    assert [row.split()[0] for row in text.splitlines() if "10.0k" in row and "µs" in row][:2] == ["1", "64"]
    assert "sustains" not in text


def test_factors_are_of_saturation() -> None:
    assert factors((load_curve(), load_curve("b", 0.5), load_curve("c", saturation=None))) == [("b", 2.0)]
    assert factors(()) == factors((load_curve(saturation=None), load_curve("b"))) == []


def test_the_drawing_has_every_point_where_it_belongs() -> None:
    lines = drawing([("one", [(1e3, 10.0), (1e4, 20.0), (1e5, 1000.0)]), ("two", [(1e3, 10.0)])])
    assert all(len(line) <= 80 for line in lines)
    field = [line.partition("|")[2] for line in lines if "|" in line]
    assert field[0].rstrip().endswith("A")
    assert field[-1].startswith("*")  # both begin in the same place
    assert sum(line.count("A") for line in field) == 2
    assert lines[-2:] == [f"{'A':>10} one", f"{'B':>10} two"]
    assert re.search(r"1\.00 ms \|", "\n".join(lines))


@pytest.mark.parametrize(
    "points", [[(5.0, 3.0)], [(1e-9, 1e-9), (1e12, 1e12)], [(7.0, 7.0)] * 3, [(1.0, 1.0), (2.0, 1.0)]]
)
def test_any_points_are_drawn(points: list[tuple[float, float]]) -> None:
    lines = drawing([("one", points)])
    assert sum(line.partition("|")[2].count("A") for line in lines) == len(set(points))


def test_nothing_is_drawn_without_points() -> None:
    assert drawing([]) == drawing([("one", [])]) == []


def test_what_is_asked_for() -> None:
    plan = load_plan(LoadOptions(load=True, deadline_ms=2.0, seconds=3.0), 7)
    assert plan.searches
    assert plan.arrivals == "poisson"
    assert (plan.settings.seconds, plan.settings.deadline_s, plan.settings.seed) == (3.0, 0.002, 7)
    assert plan.settings.tell_deadline
    assert load_plan(LoadOptions(callers=[1, 64]), 0).arrivals == "callers"
    assert load_plan(LoadOptions(rate=[10.0], arrivals="constant"), 0).law == "constant"
    assert not load_plan(LoadOptions(rate=[10.0]), 0).searches


def test_recorded_arrivals_are_read(tmp_path: Path) -> None:
    np.save(tmp_path / "times.npy", np.array([1.0, 1.5]))
    plan = load_plan(LoadOptions(arrivals=str(tmp_path / "times.npy")), 0)
    assert plan.due_ns is not None
    assert plan.due_ns.tolist() == [0, 500_000_000]
    assert (plan.arrivals, plan.settings.warmup_s) == ("recorded", 0.0)
    with pytest.raises(InputError, match="No such file"):
        load_plan(LoadOptions(arrivals="uniform"), 0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rate": [0.0]}, "--rate must be a positive number, got 0"),
        ({"rate": [float("inf")]}, "--rate must be a positive number, got inf"),
        ({"callers": [0]}, "--callers must be a positive number, got 0"),
        ({"deadline_ms": -1.0}, "--deadline-ms must be a positive number, got -1"),
        ({"seconds": 0.0}, "--seconds must be a positive number, got 0"),
        ({"seconds": 1e-10}, "--seconds must be from 0.001 to 86,400, got 1e-10"),
        ({"seconds": 1e9}, "--seconds must be from 0.001 to 86,400, got 1e+09"),
        ({"callers": [10**9]}, "--callers must be from 1 to 100,000, got 1e+09"),
        ({"deadline_ms": 1e-9}, "--deadline-ms must be from 1e-06 to 3,600,000, got 1e-09"),
        ({"rate": [9e6], "seconds": 60.0}, "--rate 9e+06 for 60 s is more than 20,000,000 requests"),
        ({"rate": [1.0], "callers": [1]}, "--rate and --callers both say when requests come"),
        ({"callers": [1], "arrivals": "f.npy"}, "--callers and --arrivals FILE both say"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        load_plan(LoadOptions(load=True, **options), 0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rate", "10"], "--rate: only with --load"),
        (["--load", "--suite", "cache"], "--load and --suite cache are two benchmarks"),
        (["--load", "policy.zip"], "--load serves artifacts; make one with `grandopt optimize`"),
        (["--load"], "no artifact of"),
    ],
)
def test_bad_input_is_one_error(grandopt: Grandopt, words: list[str], said: str) -> None:
    done = grandopt("benchmark", *words)
    assert done.returncode == 2
    assert_one_error_line(done)
    assert said in done.stderr


@pytest.mark.slow
def test_an_artifact_is_served_and_reported(grandopt: Grandopt, tmp_path: Path) -> None:
    made = original(program(Policy), Store(tmp_path / "store", 1 << 30))
    done = grandopt(
        "benchmark",
        "--load",
        made.path,
        "--rate",
        "200",
        "--rate",
        "400",
        "--seconds",
        "0.3",
        "--json",
        "--trust",
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    (agent,) = load_report(tmp_path / "reports" / "load_report.json").agents
    assert document["agents"][0]["name"] == agent.name
    assert [curve.label for curve in agent.loads][:2] == ["engine, aggressive", "one call after the other"]
    assert [bool(curve.reason) for curve in agent.loads] == [False, False, True]  # it carries no program
    for curve in agent.loads[:2]:
        assert [point.rate for point in curve.points] == [200.0, 400.0]
        assert all(point.failed == 0 for point in curve.points)
    assert grandopt("report", "html", "reports/load_report.json").returncode == 0
    callers = grandopt(
        "benchmark",
        "--load",
        made.path,
        "--callers",
        "1",
        "--callers",
        "8",
        "--seconds",
        "0.3",
        "-q",
        "--trust",
    )
    assert callers.returncode == 0, callers.stderr
    assert "callers" in callers.stdout
