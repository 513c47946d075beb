"""Reports are read strictly and written atomically."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from grandopt.errors import OutputError, ReportError
from grandopt.reporting.report import Figures, load_report, write_report
from tests.reporting.samples import failed, figures, load_curve, load_point, optimized, report, speedup

Change = Callable[[dict[str, Any]], Any]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "reports" / "optimization_report.json"
    write_report(report(), path)
    return path


def test_what_was_written_is_read_back(written: Path) -> None:
    assert load_report(written) == report()
    assert [entry.name for entry in written.parent.iterdir()] == [written.name]


def test_load_is_read_back_and_may_be_missing(tmp_path: Path) -> None:
    path, made = tmp_path / "report.json", report(optimized(loads=(load_curve(),)))
    write_report(made, path)
    assert load_report(path) == made
    data = json.loads(path.read_text())
    del data["agents"][0]["loads"]
    path.write_text(json.dumps(data))
    assert load_report(path).agents[0].loads == ()
    data["schema_version"] = 3
    data["agents"][0]["loads"] = []
    path.write_text(json.dumps(data))
    with pytest.raises(ReportError, match=r"field 'agents\.0\.\w+' is unknown"):
        load_report(path)


def test_an_infinite_bound_is_written_as_its_name(written: Path) -> None:
    agent = json.loads(written.read_text())["agents"][0]
    assert agent["signature"]["inputs"][0]["low"] == "-inf"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_figure_must_be_finite(value: float) -> None:
    with pytest.raises(ValidationError, match="finite number"):
        figures(value)


def test_a_percentile_without_figure_needs_a_reason() -> None:
    with pytest.raises(ValidationError, match="p999_us is null, so 'unavailable' must hold the reason"):
        Figures(p50_us=1.0, p90_us=1.0, p95_us=1.0, p99_us=1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optimized(speedup=None), "needs 'shipped' and 'speedup'"),
        (lambda: failed(reason=None), "needs a reason"),
        (lambda: failed(error_kind=None), "'error_kind' belongs to status 'failed'"),
        (lambda: optimized(environment={}), "Extra inputs"),
        (lambda: report(environment={"x": object()}), "plain data"),
        (lambda: report(started="yesterday"), "pattern"),
        (lambda: speedup(0.0), "greater than 0"),
        (lambda: load_curve(points=()), "no points and needs a reason"),
        (lambda: load_point(10.0, 1.0, lost=1), "outcomes of 10 requests do not sum"),
        (lambda: load_point(10.0, 1.0, p50_us=None), "p50_us is null, so 'unavailable' must hold"),
    ],
)
def test_a_report_without_its_evidence_cannot_be_made(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        make()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.pop("seed"), "field 'seed' is missing"),
        (lambda data: data["agents"][0].pop("refusals"), "field 'agents.0.refusals' is missing"),
        (
            lambda data: data["agents"][0]["shipped"]["figures"].pop("qps"),
            "field 'agents.0.shipped.figures.qps' is missing",
        ),
        (lambda data: data.update(extra=1), "field 'extra' is unknown"),
        (lambda data: data["agents"][1].update(speed=1), "field 'agents.1.speed' is unknown"),
        (lambda data: data.update(seed="0"), "field 'seed': input should be a valid integer"),
        (lambda data: data["agents"][2].update(reason=None), "field 'agents.2': agent 'fvg' is 'failed'"),
        (
            lambda data: data.update(schema_version=5),
            "schema_version is 5, this grandopt reads versions 1 to 4",
        ),
        (lambda data: data.update(schema_version=0), "schema_version is 0"),
        (lambda data: data.update(schema_version=True), "schema_version is True"),
        (lambda data: data.pop("schema_version"), "schema_version is None"),
        (lambda data: data.update(duration_s=float("nan")), "the constant NaN is not JSON"),
    ],
)
def test_a_wrong_report_is_refused_in_one_line(written: Path, change: Change, message: str) -> None:
    data = json.loads(written.read_text())
    change(data)
    written.write_text(json.dumps(data))
    with pytest.raises(ReportError) as caught:
        load_report(written)
    assert message in str(caught.value)
    assert str(written) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_half_written_report_is_refused(written: Path) -> None:
    text = written.read_text()
    written.write_text(text[: len(text) // 2])
    with pytest.raises(ReportError, match="not a complete report"):
        load_report(written)


@pytest.mark.parametrize("content", [b"", b"[" * 200_000, b"\xff\xfe", b"[]", b"null"])
def test_what_is_no_report_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(content)
    with pytest.raises(ReportError, match=r"report\.json"):
        load_report(path)


def test_a_missing_report_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="No such file"):
        load_report(tmp_path / "none.json")
    with pytest.raises(ReportError, match="Is a directory"):
        load_report(tmp_path)


def test_a_place_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("a file where the folder should be")
    with pytest.raises(OutputError, match="cannot be written"):
        write_report(report(), tmp_path / "reports" / "report.json")


def test_a_failed_write_leaves_the_old_report_and_no_rubbish(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.mkdir()
    (path / "kept").touch()
    with pytest.raises(OutputError):
        write_report(report(), path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.json"]
    assert (path / "kept").exists()


def test_the_file_gets_the_rights_that_the_user_asks_for(tmp_path: Path) -> None:
    mask = os.umask(0o022)
    try:
        write_report(report(), tmp_path / "report.json")
    finally:
        os.umask(mask)
    assert (tmp_path / "report.json").stat().st_mode & 0o777 == 0o644
