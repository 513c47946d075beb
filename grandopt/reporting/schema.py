"""The JSON Schema of the report, for readers that are not Python.

The file in `schemas/` is made from the models by `python -m grandopt.reporting.schema`; a test fails when it
no longer matches them.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

from grandopt.reporting.report import REPORT_VERSION, Report

SCHEMA_NAME = f"optimization_report.v{REPORT_VERSION}.json"


def make_schema() -> dict[str, Any]:
    """The schema (JSON Schema, draft 2020-12) of what `write_report` writes, made from the models.

    It is the written form: every field is required, and none but the named ones is allowed.
    """
    schema = Report.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def shipped_schema() -> dict[str, Any]:
    """The schema as it lies in the package."""
    text = resources.files("grandopt.reporting").joinpath("schemas", SCHEMA_NAME).read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def write_schema(folder: Path) -> Path:
    """Write the schema into `folder` under its versioned name, and return the file."""
    path = folder / SCHEMA_NAME
    path.write_text(json.dumps(make_schema(), indent=2) + "\n", encoding="utf-8")
    return path


if __name__ == "__main__":
    write_schema(Path(__file__).parent / "schemas")
