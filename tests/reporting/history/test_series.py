"""Figures are compared only where they may be, and a change comes with what else was new."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from grandopt.reporting.history.change_points import LEAST
from grandopt.reporting.history.export import to_csv, to_json, to_jsonl
from grandopt.reporting.history.records import Record
from grandopt.reporting.history.series import Series, all_series
from grandopt.reporting.history.store import append, read
from grandopt.reporting.history.words import change_words, title
from tests.reporting.history.records import MACHINE, agent, run, step

LEVELS = [20.0 + 0.1 * (day % 3) for day in range(10)] + [25.0 + 0.1 * (day % 3) for day in range(8)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.sqlite"


@pytest.fixture
def stepped(path: Path) -> Series:
    (series,) = all_series(read(step(path, LEVELS)))
    return series


def test_what_cannot_be_compared_is_kept_apart(path: Path) -> None:
    other = MACHINE | {"identity": "cd" * 32}
    append(path, run(0, agent(20.0), agent(30.0, name="a")))
    append(path, run(1, agent(20.0), environment=other))
    append(path, run(2, agent(20.0), threads="auto"))
    append(path, run(3, agent(20.0), kind="benchmark"))
    append(path, run(4, agent(21.0)))
    found = all_series(read(path))
    assert [(s.key.agent, s.key.kind, s.key.machine[:2], s.key.threads, len(s.records)) for s in found] == [
        ("a", "optimize", "ab", "1", 1),
        ("decision_gate", "benchmark", "ab", "1", 1),
        ("decision_gate", "optimize", "ab", "1", 2),
        ("decision_gate", "optimize", "ab", "auto", 1),
        ("decision_gate", "optimize", "cd", "1", 1),
    ]


def test_a_change_is_marked_with_its_size(stepped: Series) -> None:
    (change,) = stepped.changes
    assert change.record.run.started.startswith("2026-01-11")
    assert change.point.factor == pytest.approx(1.25, rel=0.01)
    assert stepped.change_at(stepped.records[10]) is change
    assert stepped.change_at(stepped.records[9]) is None
    assert not change.suspects_machine
    assert "2026-01-11 00:00: p50 20.1 µs → 25.1 µs (+25 %, p = 0.0" in change_words(change, "p50")
    assert title(stepped) == "decision_gate · optimize · threads 1 · a CPU (abababab)"


def test_too_few_runs_say_so(path: Path) -> None:
    (series,) = all_series(read(step(path, LEVELS[: LEAST - 1])))
    assert series.changes == ()
    assert (
        series.reason
        == f"{LEAST - 1} runs with this figure: too few to look for changes, which takes {LEAST}"
    )


def test_another_figure_can_be_followed(path: Path) -> None:
    records = read(step(path, LEVELS))
    for figure in ("memory", "speedup", "start"):
        (series,) = all_series(records, figure)
        assert series.changes == ()
    (series,) = all_series(records, "throughput")
    assert [change.point.factor for change in series.changes] == pytest.approx([1 / 1.25], rel=0.01)
    (series,) = all_series(records, "start")
    assert series.reason is not None  # no run measured it


def test_a_change_names_what_else_was_new(path: Path) -> None:
    for day, p50_us in enumerate(LEVELS):
        libraries = {"torch": "2.13.0" if day < 10 else "2.14.0"} | ({"onnx": "1.2"} if day < 10 else {})
        append(path, run(day, agent(p50_us), environment=MACHINE | {"libraries": libraries}))
    (series,) = all_series(read(path))
    assert series.changes[0].with_it == ("onnx 1.2 → absent", "torch 2.13.0 → 2.14.0")
    assert "new in that run: onnx 1.2 → absent, torch 2.13.0 → 2.14.0" in change_words(
        series.changes[0], "p50"
    )


@pytest.mark.parametrize(("original", "machine"), [(1.25, True), (1.13, True), (1.05, False), (0.8, False)])
def test_a_machine_that_became_slower_slows_the_original_too(
    path: Path, original: float, machine: bool
) -> None:
    originals = [50.0 * (original if day >= 10 else 1) for day in range(len(LEVELS))]
    (series,) = all_series(read(step(path, LEVELS, originals)))
    assert series.changes[0].original == pytest.approx(original)
    assert series.changes[0].suspects_machine is machine
    assert ("rather the machine" in change_words(series.changes[0], "p50")) is machine


def records_of(series: Series) -> list[tuple[str, str, float | None]]:
    def row(record: Record) -> tuple[str, str, float | None]:
        return record.run.started, record.agent.agent, record.agent.p50_us

    return [row(record) for record in series.records]


def test_csv_and_json_lines_hold_every_record_and_the_change(stepped: Series) -> None:
    table = list(csv.DictReader(io.StringIO(to_csv([stepped]))))
    lines = [json.loads(line) for line in to_jsonl([stepped]).splitlines()]
    assert [(row["started"], row["agent"], float(row["p50_us"])) for row in table] == records_of(stepped)
    assert [(row["started"], row["agent"], row["p50_us"]) for row in lines] == records_of(stepped)
    assert list(table[0]) == list(lines[0])
    marked = [row for row in table if row["change_factor"]]
    assert [(row["started"][:10], row["change_figure"]) for row in marked] == [("2026-01-11", "p50")]
    assert [row["change_factor"] for row in lines if row["change_factor"]] == [
        float(marked[0]["change_factor"])
    ]
    assert json.loads(table[0]["command"]) == lines[0]["command"] == ["grandopt", "optimize"]
    assert table[0]["process_ms"] == ""
    assert lines[0]["process_ms"] is None


def test_json_holds_the_series_and_its_changes(stepped: Series) -> None:
    (data,) = json.loads(json.dumps(to_json([stepped]), allow_nan=False))
    assert (data["agent"], data["threads"], len(data["records"])) == ("decision_gate", "1", len(LEVELS))
    assert data["changes"][0]["started"] == data["records"][10]["started"]
    assert data["reason"] is None


def test_a_name_with_a_comma_and_a_quote_survives(path: Path) -> None:
    append(path, run(0, agent(20.0, name='a,"b"\n=1')))
    found = all_series(read(path))
    assert next(csv.DictReader(io.StringIO(to_csv(found))))["agent"] == 'a,"b"\n=1'
    assert len(to_jsonl(found).splitlines()) == 1
