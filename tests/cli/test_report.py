"""`grandopt report show` and the tables of a report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from grandopt.cli.render.report import WIDE, candidate_tables, summary
from grandopt.config.agents import REFERENCE_AGENTS
from grandopt.reporting.report import LimitReport, Report, TargetsReport, write_report
from tests.cli.conftest import Grandopt, assert_one_error_line
from tests.reporting.samples import candidates, failed, figures, kept, optimized, report, shipped

Tables = Callable[[Report, int], list[RenderableType]]


@pytest.fixture(scope="module")
def full() -> Report:
    """All reference agents, one of each outcome, with figures of every length."""
    agents = [optimized(name) for name in REFERENCE_AGENTS]
    agents[1] = kept("strategic_system", candidates=candidates())
    agents[5] = optimized(
        "tactical_embedder",
        original=figures(48_123.0, resident_mb=1251.0),
        shipped=shipped(figures=figures(25_123.0, stable=False)),
        targets=TargetsReport(latency_ms=2, met=False, misses=("p50 25.1 ms, wanted 2.00 ms",)),
    )
    return report(*agents, failed(), kept("odd\x1b[31m", shipped=None, original=None))


def drawn(tables: Tables, data: Report, width: int) -> str:
    console = Console(width=width, color_system=None, markup=False)
    with console.capture() as captured:
        console.print(*tables(data, width), sep="\n", highlight=False)
    return captured.get()


@pytest.mark.parametrize("tables", [summary, candidate_tables])
@pytest.mark.parametrize("width", [80, 100, WIDE, 200])
def test_tables_fit_the_width_and_cut_no_number(full: Report, tables: Tables, width: int) -> None:
    text = drawn(tables, full, width)
    assert max(cell_len(line) for line in text.splitlines()) <= width
    assert "…" not in text
    assert "\x1b" not in text
    for word in ("48.1 ms", "25.1 ms") if tables is summary else ("60.0 µs", "2.0× (1.9–2.1)"):
        assert word in text
    for name in REFERENCE_AGENTS:
        assert name in text


@pytest.mark.parametrize("width", [80, WIDE])
def test_candidates_show_their_distance_to_the_machines_limit(width: int) -> None:
    kept = {"bound": "reading", "threads": 1, "source": "kernels", "instructions": "x86-64-v4-bf16"}
    limits = (
        LimitReport(us=4.0, precision="float32", cache="memory", speed=102.3, **kept),
        LimitReport(us=1.0, precision="int8_dynamic", cache="memory", speed=102.3, **kept),
        LimitReport(us=1.0, precision="int8_static", cache="memory", speed=102.3, **kept),
    )
    below = figures(3.0, limit_us=4.0, limit_factor=0.75, limit=limits[0], below_limit=True)
    agent = optimized(
        "lvn_embedder",
        original=figures(50.0, limit_us=4.0, limit_factor=12.5),
        shipped=shipped(figures=below),
        limits=limits,
    )
    text = drawn(candidate_tables, report(agent), width)
    (row,) = (line for line in text.splitlines() if line.startswith("original"))
    assert " 12.5×" in row
    assert max(cell_len(line) for line in text.splitlines()) <= width
    text = " ".join(text.split())
    assert "the machine's limit for a call (48.3 kB of weights, 23.0k FLOP):" in text
    assert (
        "float32: 4.00 µs a call (float32 weights from as far as memory at 102 GB/s, x86-64-v4-bf16)" in text
    )
    assert "int8_dynamic and int8_static: 1.00 µs a call (int8_dynamic weights from as far as memory" in text
    assert "p50 3.00 µs is below the machine's limit of 4.00 µs (" in text
    assert "a fault of the limit" in text


def test_80_columns_show_every_figure_of_an_agent(full: Report) -> None:
    lines = drawn(summary, full, 80).splitlines()
    at = next(index for index, line in enumerate(lines) if line.startswith("structure_embedder"))
    assert " ".join(lines[at].split()) == "structure_embedder torchscript 50.0 µs 80.0 µs 20.0k 251 MB 2.0×"
    assert " ".join(lines[at + 1].split()) == "optimized int8_dynamic 25.0 µs 40.0 µs 40.0k 251 MB 1.9–2.1"


def test_what_needs_saying_is_said(full: Report) -> None:
    for width in (80, 200):
        text = " ".join(drawn(summary, full, width).split())
        assert "strategic_system: original kept: nothing was faster" in text
        assert "tactical_embedder: target missed: p50 25.1 ms, wanted 2.00 ms; measurement unstable" in text
        assert "fvg: failed: models/fvg.pth: no such file" in text
        assert "7 optimized, 2 original kept, 1 failed" in text


def test_candidates_come_with_their_reasons(full: Report) -> None:
    text = drawn(candidate_tables, full, 80)
    assert "torchscript/bfloat16: refused: relative L2 error 0.031 exceeds 0.02" in text
    assert "export: a branch depends on the data" in text


def test_a_partial_report_says_so() -> None:
    assert "interrupted: partial report" in drawn(summary, report(status="partial"), 100)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "report.json"
    write_report(report(), path)
    return path


def test_show_for_people(grandopt: Grandopt, written: Path) -> None:
    result = grandopt("report", "show", written)
    assert (result.returncode, result.stderr) == (0, "")
    assert "decision_gate" in result.stdout
    assert "torchscript/bfloat16" not in result.stdout
    assert "\x1b" not in result.stdout
    assert max(map(cell_len, result.stdout.splitlines())) <= 80


def test_show_with_v_shows_the_candidates(grandopt: Grandopt, written: Path) -> None:
    assert "torchscript/bfloat16" in grandopt("report", "show", written, "-v").stdout


def test_show_with_v_has_the_evidence_within_80_columns(grandopt: Grandopt, written: Path) -> None:
    result = grandopt("report", "show", written, "-v")
    assert (result.returncode, result.stderr) == (0, "")
    assert max(map(cell_len, result.stdout.splitlines())) <= 80
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    for row in (
        "p99 80.0 µs 40.0 µs",
        "torchscript/bfloat16 0.031 0.02 99.75%",
        "study for latency: 3 trials, ended by: exhausted, best trial 1",
        "1 torchscript/float32 complete 1 1 25",
        "cpu model a CPU",
        "grandopt optimize",
    ):
        assert row in lines


def test_show_with_v_names_a_field_cut_out_of_the_evidence(grandopt: Grandopt, written: Path) -> None:
    data = json.loads(written.read_text())
    del data["agents"][0]["tuning"]["trials"]
    written.write_text(json.dumps(data))
    result = grandopt("report", "show", written, "-v")
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert "tuning: field 'trials' is missing" in result.stderr
    assert result.stderr.count("\n") == 1


def test_show_as_json_is_the_report(grandopt: Grandopt, written: Path) -> None:
    result = grandopt("report", "show", written, "--json")
    assert json.loads(result.stdout) == json.loads(written.read_text())


def test_colour_only_where_it_is_wanted(grandopt: Grandopt, written: Path) -> None:
    coloured = grandopt("report", "show", written, FORCE_COLOR="1", TERM="xterm").stdout
    assert "\x1b[32m" in coloured
    plain = grandopt("report", "show", written, FORCE_COLOR="1", TERM="xterm", NO_COLOR="1").stdout
    assert "\x1b[32m" not in plain


def test_an_ascii_terminal_gets_a_table(grandopt: Grandopt, written: Path) -> None:
    result = grandopt("report", "show", written, PYTHONIOENCODING="ascii")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.isascii()


def test_html_writes_one_file_beside_the_report_and_prints_its_path(
    grandopt: Grandopt, written: Path
) -> None:
    result = grandopt("report", "html", written)
    page = written.with_suffix(".html")
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{page}\n", "")
    assert "decision_gate" in page.read_text(encoding="utf-8")
    assert sorted(written.parent.iterdir()) == [page, written]


def test_html_goes_where_it_is_told_and_says_so_in_json(grandopt: Grandopt, written: Path) -> None:
    page = written.parent / "pages" / "gate.html"
    result = grandopt("report", "html", written, "--output", page, "--json", MPLCONFIGDIR="/dev/null/none")
    assert (result.returncode, json.loads(result.stdout), result.stderr) == (0, {"html": str(page)}, "")
    assert page.exists()


def test_html_over_the_report_or_into_a_file_as_folder_is_exit_2(grandopt: Grandopt, written: Path) -> None:
    for place in (written, written / "page.html"):
        result = grandopt("report", "html", written, "--output", place)
        assert result.returncode == 2
        assert_one_error_line(result)
    assert json.loads(written.read_text())["kind"] == "optimize"


@pytest.mark.parametrize("command", ["show", "html"])
@pytest.mark.parametrize("content", [None, "{", '{"schema_version": 9}'])
def test_a_wrong_report_is_exit_2(
    grandopt: Grandopt, tmp_path: Path, content: str | None, command: str
) -> None:
    path = tmp_path / "wrong.json"
    if content is not None:
        path.write_text(content)
    result = grandopt("report", command, path)
    assert result.returncode == 2
    assert not path.with_suffix(".html").exists()
    assert_one_error_line(result)
    assert "wrong.json" in result.stderr
