"""The JSON Schema in the package fits the models, and holds what the loader holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from grandopt.reporting.report import REPORT_VERSION, Report, write_report
from grandopt.reporting.schema import SCHEMA_NAME, make_schema, shipped_schema, write_schema
from tests.reporting.samples import failed, kept, load_curve, optimized, report


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = shipped_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_file_is_up_to_date() -> None:
    assert shipped_schema() == make_schema(), "run `python -m grandopt.reporting.schema`"
    assert f".v{REPORT_VERSION}." in SCHEMA_NAME


def test_writing_the_schema_gives_the_file_in_the_package(tmp_path: Path) -> None:
    assert json.loads(write_schema(tmp_path).read_text()) == shipped_schema()


@pytest.mark.parametrize(
    "written",
    [
        report(),
        report(status="partial", threads="auto", profile=None),
        report(optimized(), kind="benchmark"),
        report(optimized(loads=(load_curve(),)), kind="benchmark"),
        report(kept(shipped=None), failed(error_kind="other"), kind="tune"),
    ],
)
def test_written_reports_are_valid(
    validator: jsonschema.Draft202012Validator, written: Report, tmp_path: Path
) -> None:
    write_report(written, tmp_path / "report.json")
    validator.validate(json.loads((tmp_path / "report.json").read_text()))


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.pop("environment"),
        lambda data: data.update(extra=1),
        lambda data: data.update(schema_version=1),
        lambda data: data["agents"][0].pop("tuning"),
        lambda data: data["agents"][0]["original"].update(p50_us=None),
        lambda data: data["agents"][0]["candidates"][0].update(status="fastest"),
    ],
)
def test_wrong_reports_are_not_valid(
    validator: jsonschema.Draft202012Validator, change: Callable[[dict[str, Any]], Any], tmp_path: Path
) -> None:
    write_report(report(), tmp_path / "report.json")
    data = json.loads((tmp_path / "report.json").read_text())
    change(data)
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(data)
