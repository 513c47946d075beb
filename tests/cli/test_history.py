"""`grandopt report history`, and what the page of a report takes from it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.cells import cell_len

from grandopt.cli.app import main
from grandopt.cli.commands.report import history_beside
from grandopt.cli.render.history import history_tables
from grandopt.measurement.environment import environment
from grandopt.reporting.history.series import FIGURES, all_series
from grandopt.reporting.history.store import append, read
from grandopt.reporting.report import write_report
from tests.cli.conftest import Grandopt
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


Here = Callable[..., tuple[int, str, str]]


@pytest.fixture
def here(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Here:
    """Runs `grandopt ARGS` in this process, in the folder of the history: code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*args: str) -> tuple[int, str, str]:
        code = main(args)
        return code, *capsys.readouterr()

    return run


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
    assert sum("2026-01-" in line and "µs" in line for line in lines) == 20 + 1
    whole = grandopt("report", "history", "-v").stdout.splitlines()
    assert sum("2026-01-" in line and "µs" in line for line in whole) == 24 + 1


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
    records = read(tmp_path / "h.sqlite")

    def table(figure: str) -> str:
        return drawn(
            lambda data, width: history_tables(all_series(records, figure), shown=None), report(), 80
        )

    for figure in FIGURES:
        assert max(map(cell_len, table(figure).splitlines())) <= 80
        assert "~48.1 ms" in table(figure)
        assert "the measurement was unsteady" in table(figure)
    assert "1.25 GB" in table("memory")


def test_csv_and_json_lines_go_where_they_are_told(here: Here, tmp_path: Path) -> None:
    code, out, err = here("report", "history", "--agent", "decision_gate", "--csv", "-")
    assert (code, err) == (0, "")
    table = list(csv.DictReader(io.StringIO(out)))
    assert len(table) == 24
    assert [row["started"][:10] for row in table if row["change_factor"]] == ["2026-01-17"]
    assert here("report", "history", "--csv", "out/a.csv", "--jsonl", "b.jsonl")[1].split() == [
        "out/a.csv",
        "b.jsonl",
    ]
    assert len((tmp_path / "out" / "a.csv").read_text().splitlines()) == 1 + 25
    assert len([json.loads(line) for line in (tmp_path / "b.jsonl").read_text().splitlines()]) == 25


def test_json_is_one_document(here: Here) -> None:
    data = json.loads(here("report", "history", "--json")[1])
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
def test_what_is_not_there_is_one_line_and_exit_2(here: Here, arguments: tuple[str, ...], words: str) -> None:
    code, out, err = here("report", "history", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: ")
    assert words in err


def test_a_machine_is_named_by_its_beginning_or_as_this_one(here: Here, path: Path) -> None:
    assert "fvg" not in here("report", "history", "--machine", "ab")[1]
    append(path, run(50, agent(3.0, name="local"), environment={"identity": environment().identity}))
    found = here("report", "history", "--machine", "here", "--json")[1]
    assert [item["agent"] for item in json.loads(found)["series"]] == ["local"]


def test_the_page_takes_the_history_beside_it(grandopt: Grandopt, path: Path) -> None:
    source = path.with_name("optimization_report.json")
    write_report(run(30, agent(25.0)), source)
    result = grandopt("report", "html", source)
    assert (result.returncode, result.stderr) == (0, "")
    assert "Over time" in source.with_suffix(".html").read_text(encoding="utf-8")


def test_a_page_goes_on_without_a_history_that_is_damaged(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(history_beside(path)) == 25
    assert history_beside(path.with_name("none.sqlite")) == ()
    assert capsys.readouterr().err == ""
    path.write_bytes(b"no database at all" * 100)
    assert history_beside(path) == ()
    said = capsys.readouterr().err
    assert said.startswith("warning: without history: ")
    assert said.count("\n") == 1
