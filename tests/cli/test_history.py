"""`grandopt report history`, and what the page of a report takes from it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from rich.cells import cell_len

from grandopt.cli.render_history import history_tables
from grandopt.measurement.environment import environment
from grandopt.reporting.history.series import FIGURES, all_series
from grandopt.reporting.history.store import append, read
from grandopt.reporting.report import write_report
from tests.cli.conftest import Grandopt, assert_one_error_line
from tests.cli.test_report import drawn
from tests.reporting.history.records import MACHINE, agent, run, step
from tests.reporting.samples import figures, report, shipped


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A history of 24 runs of one agent, with a step at the 17th, and one of another agent elsewhere."""
    path = tmp_path / "reports" / "history.sqlite"
    step(path, [20.0] * 16 + [25.0] * 8)
    append(path, run(40, agent(1.0, name="fvg"), environment=MACHINE | {"identity": "cd" * 32}))
    return path


def test_shows_the_newest_runs_and_marks_the_change(grandopt: Grandopt, path: Path) -> None:
    result = grandopt("report", "history")
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert max(map(cell_len, lines)) <= 80
    assert "decision_gate · optimize · threads 1 · a CPU (abababab)" in lines
    assert "… 4 earlier runs, shown with -v" in lines
    marked = [line for line in lines if line.startswith("►")]
    assert [line.split()[1] for line in marked] == ["2026-01-17", "2026-01-17"]
    assert "25.0 µs" in marked[0]
    assert "p50 20.0 µs → 25.0 µs (+25 %, p = 0.001)" in marked[1]
    assert "1 run with this figure: too few to look for changes, which takes 12" in lines
    assert len(grandopt("report", "history", "-v").stdout.splitlines()) == len(lines) + 4 - 1


def test_every_figure_can_be_followed_within_80_columns(tmp_path: Path) -> None:
    made = shipped(
        48_123.0,
        precision="int8_dynamic",
        figures=figures(48_123.0, process_ms=1234.5, resident_mb=1251.0, stable=False),
    )
    one = agent(1.0, name="structure_embedder").model_copy(
        update={"shipped": made, "original": figures(99_123.0)}
    )
    append(tmp_path / "h.sqlite", run(0, one))
    for figure in FIGURES:
        (series,) = all_series(read(tmp_path / "h.sqlite"), figure)
        text = drawn(lambda data, width: history_tables([series], shown=None), report(), 80)
        assert max(map(cell_len, text.splitlines())) <= 80
        assert "~48.1 ms" in text
        assert "the measurement was unsteady" in text
    assert "1.25 GB" in drawn(
        lambda data, width: history_tables(all_series(read(tmp_path / "h.sqlite"), "memory"), shown=None),
        report(),
        80,
    )


def test_csv_and_json_lines_go_where_they_are_told(grandopt: Grandopt, path: Path, tmp_path: Path) -> None:
    result = grandopt("report", "history", "--agent", "decision_gate", "--csv", "-")
    assert (result.returncode, result.stderr) == (0, "")
    table = list(csv.DictReader(io.StringIO(result.stdout)))
    assert len(table) == 24
    assert [row["started"][:10] for row in table if row["change_factor"]] == ["2026-01-17"]
    result = grandopt("report", "history", "--csv", "out/a.csv", "--jsonl", "b.jsonl")
    assert result.stdout.split() == ["out/a.csv", "b.jsonl"]
    assert len((tmp_path / "out" / "a.csv").read_text().splitlines()) == 1 + 25
    assert len([json.loads(line) for line in (tmp_path / "b.jsonl").read_text().splitlines()]) == 25


def test_json_is_one_document(grandopt: Grandopt, path: Path) -> None:
    data = json.loads(grandopt("report", "history", "--json").stdout)
    assert [(item["agent"], len(item["records"])) for item in data["series"]] == [
        ("decision_gate", 24),
        ("fvg", 1),
    ]
    assert len(data["series"][0]["changes"]) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--agent", "decision_gat"), "did you mean 'decision_gate'?"),
        (("--machine", "ef"), "it knows abababab, cdcdcdcd"),
        (("--machine", "here"), "no run of machine"),
        (("--kind", "tune"), "holds no such run"),
        (("--kind", "race"), "must be optimize, benchmark or tune, got 'race'"),
        (("--figure", "p51"), "did you mean 'p5"),
        (("--csv", "-", "--json"), "only one of --csv -, --jsonl - and --json"),
        (("none.sqlite",), "none.sqlite: no such history"),
    ],
)
def test_what_is_not_there_is_one_line_and_exit_2(
    grandopt: Grandopt, path: Path, arguments: tuple[str, ...], words: str
) -> None:
    result = grandopt("report", "history", *arguments)
    assert result.returncode == 2
    assert_one_error_line(result)
    assert words in result.stderr


def test_a_machine_is_named_by_its_beginning_or_as_this_one(grandopt: Grandopt, path: Path) -> None:
    assert "fvg" not in grandopt("report", "history", "--machine", "ab").stdout
    append(path, run(50, agent(3.0, name="local"), environment={"identity": environment().identity}))
    result = grandopt("report", "history", "--machine", "here", "--json")
    assert [item["agent"] for item in json.loads(result.stdout)["series"]] == ["local"]


def test_the_page_takes_the_history_beside_it_and_goes_on_without(grandopt: Grandopt, path: Path) -> None:
    source = path.with_name("optimization_report.json")
    write_report(run(30, agent(25.0)), source)
    result = grandopt("report", "html", source)
    assert (result.returncode, result.stderr) == (0, "")
    assert "Over time" in source.with_suffix(".html").read_text(encoding="utf-8")
    path.write_bytes(b"no database at all" * 100)
    result = grandopt("report", "html", source)
    assert (result.returncode, result.stdout) == (0, f"{source.with_suffix('.html')}\n")
    assert result.stderr.startswith("warning: without history: ")
    assert result.stderr.count("\n") == 1
    assert "Over time" not in source.with_suffix(".html").read_text(encoding="utf-8")
