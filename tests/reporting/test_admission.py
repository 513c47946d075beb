"""A report says on what evidence a precision was admitted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from grandopt.reporting.admission import EvidenceReport, evidence_words
from grandopt.reporting.report import load_report, write_report
from grandopt.reporting.verdict import remarks
from grandopt.reporting.view import facts
from tests.reporting.samples import optimized, report, shipped

BOUNDS = EvidenceReport(
    kind="bounds",
    detail="finite bounds of state",
    populations=("ordinary", "at the bounds"),
    units=96,
    units_changed=90,
    outputs=4,
    outputs_changed=4,
)


def test_evidence_is_written_and_read_back(tmp_path: Path) -> None:
    written = report(optimized(evidence=BOUNDS))
    write_report(written, tmp_path / "report.json")
    assert load_report(tmp_path / "report.json") == written
    data = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert data["agents"][0]["evidence"]["kind"] == "bounds"


def test_it_is_said_in_the_page_and_beside_a_reduced_precision() -> None:
    words = "finite bounds of state; held to the limits on 2 kinds of draws; 90 of 96 units changed"
    assert evidence_words(BOUNDS).startswith(words)
    assert dict(facts(optimized(evidence=BOUNDS)))["Reduced precision judged on"].startswith(words)
    reduced = optimized(evidence=BOUNDS, shipped=shipped(precision="int8_dynamic"))
    assert "int8_dynamic admitted on declared bounds" in remarks(reduced)
    full = optimized(evidence=BOUNDS, shipped=shipped(precision="float32"))
    assert not any("admitted" in remark for remark in remarks(full))


def test_layers_of_a_mixture_are_named_where_they_are_few() -> None:
    layers = {"int8": ["a 9×9", "b 9×9", "c 9×9"], "bfloat16": ["d 9×9"], "float32": []}
    mixed = optimized(shipped=shipped(precision="mixed", options={"layers": layers}))
    assert "int8 in 3 layers, bfloat16 in 1 layer (d 9×9), float32 in 0 layers" in remarks(mixed)


def test_why_nothing_was_admitted_is_said() -> None:
    none = EvidenceReport(kind="none", detail="nothing is known", widened=True, refusal="nothing changes")
    assert evidence_words(none) == (
        "nothing is known; the ordinary inputs alone exercised too little of the network; "
        "no reduced precision: nothing changes"
    )


def test_another_kind_is_refused() -> None:
    with pytest.raises(ValidationError):
        EvidenceReport(kind="hope", detail="")  # type: ignore[arg-type]
