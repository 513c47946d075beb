"""The history for other programs: CSV for spreadsheets, JSON lines for scripts."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from grandopt.reporting.history.series import Change, Series
from grandopt.reporting.history.store import AGENT_FIELDS, RUN_FIELDS

CHANGE_FIELDS = ("change_figure", "change_factor", "change_p", "change_original")
COLUMNS = (*RUN_FIELDS, *(f"agent_{name}" if name in RUN_FIELDS else name for name in AGENT_FIELDS))


def to_csv(series: Iterable[Series]) -> str:
    """One line per record under a head of names, in the order of the series.

    What is not known is empty, libraries and command are JSON. The last columns are filled where a new level
    begins.
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, (*COLUMNS, *CHANGE_FIELDS), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(item) for name, item in row.items()} for row in _rows(series))
    return buffer.getvalue()


def to_jsonl(series: Iterable[Series]) -> str:
    """One JSON object per record and line, with the names of the CSV's columns; null is not known."""
    return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in _rows(series))


def to_json(series: Sequence[Series]) -> list[dict[str, Any]]:
    """The series as plain data: what they are of, their records and their changes."""
    return [
        {
            **asdict(item.key),
            "cpu_model": item.cpu_model,
            "figure": item.figure,
            "reason": item.reason,
            "records": list(_rows([item])),
            "changes": [
                {
                    "started": change.record.run.started,
                    **_change(change, item.figure),
                    "before": change.point.before,
                    "after": change.point.after,
                    "with_it": list(change.with_it),
                    "suspects_machine": change.suspects_machine,
                }
                for change in item.changes
            ],
        }
        for item in series
    ]


def _rows(series: Iterable[Series]) -> Iterable[dict[str, Any]]:
    for item in series:
        for record in item.records:
            values = [*asdict(record.run).values(), *asdict(record.agent).values()]
            yield {
                **dict(zip(COLUMNS, values, strict=True)),
                **_change(item.change_at(record), item.figure),
            }


def _change(change: Change | None, figure: str) -> dict[str, Any]:
    if change is None:
        return dict.fromkeys(CHANGE_FIELDS)
    values = (figure, change.point.factor, change.point.p, change.original)
    return dict(zip(CHANGE_FIELDS, values, strict=True))


def _cell(item: Any) -> Any:
    return json.dumps(item, ensure_ascii=False) if isinstance(item, dict | list | tuple) else item
