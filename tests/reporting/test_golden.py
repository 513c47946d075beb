"""Reports that real runs of every schema version wrote still open, and are still held to their version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from grandopt.errors import ReportError
from grandopt.reason import ReasonCode
from grandopt.reporting.evidence import tuning, verified
from grandopt.reporting.report import REPORT_VERSION, load_report, write_report
from tests.reporting.samples import report

GOLDEN = Path(__file__).parent / "golden"
NEWEST = 3
"""The newest version of which a report is kept; that of the present one is kept when the next one comes."""

VERSIONS = range(1, NEWEST + 1)


def golden(version: int) -> Path:
    return GOLDEN / f"optimization_report.v{version}.json"


def changed(version: int, folder: Path) -> tuple[dict[str, Any], Path]:
    return json.loads(golden(version).read_text(encoding="utf-8")), folder / "report.json"


def test_a_report_of_every_older_version_is_kept() -> None:
    assert NEWEST >= REPORT_VERSION - 1
    assert all(golden(version).is_file() for version in VERSIONS)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_report_of_every_version_opens(version: int, tmp_path: Path) -> None:
    found = load_report(golden(version))
    assert json.loads(golden(version).read_text(encoding="utf-8"))["schema_version"] == version
    assert [agent.name for agent in found.agents] == ["decision_gate", "lvn_embedder"]
    for agent in found.agents:
        study = tuning(agent)
        assert study is not None
        assert study.trials
        assert any(verified(agent, candidate) for candidate in agent.candidates)
    # Whoever writes it again writes a whole report of the present version.
    write_report(found, tmp_path / "report.json")
    assert load_report(tmp_path / "report.json") == found


@pytest.mark.parametrize("version", VERSIONS)
def test_a_field_removed_from_any_version_is_named(version: int, tmp_path: Path) -> None:
    data, path = changed(version, tmp_path)
    del data["agents"][0]["original"]["limit_us"]
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(ReportError, match=r"field 'agents\.0\.original\.limit_us' is missing"):
        load_report(path)


def test_version_2_keeps_the_distribution_and_version_1_does_not() -> None:
    for version in (1, 2):
        for agent in load_report(golden(version)).agents:
            assert agent.original is not None
            assert (agent.original.distribution is not None) == (version == 2)


def test_version_2_without_its_distribution_is_refused(tmp_path: Path) -> None:
    data, path = changed(2, tmp_path)
    del data["agents"][0]["original"]["distribution"]
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(ReportError, match=r"agents\.0\.original\.distribution' is missing"):
        load_report(path)


def test_version_1_with_a_field_of_version_2_is_refused(tmp_path: Path) -> None:
    data, path = changed(1, tmp_path)
    data["agents"][1]["original"]["distribution"] = None
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(ReportError, match=r"agents\.1\.original\.distribution' is unknown"):
        load_report(path)


def test_the_distribution_agrees_with_the_percentiles() -> None:
    for agent in load_report(golden(2)).agents:
        figures = agent.original
        assert figures is not None
        assert figures.distribution is not None
        points = dict(zip(figures.distribution.shares, figures.distribution.us, strict=True))
        # Beside interpolation between neighbouring samples, both are the same percentile of the same calls.
        assert points[0.9] == pytest.approx(figures.p90_us, rel=0.01)
        assert points[0.95] == pytest.approx(figures.p95_us, rel=0.01)


def test_version_3_carries_what_it_takes_to_do_it_again_and_version_2_does_not() -> None:
    for version in (2, 3):
        for agent in load_report(golden(version)).agents:
            assert (agent.recipe is not None) == (version == 3)
    for agent in load_report(golden(3)).agents:
        assert agent.recipe is not None
        assert agent.recipe.built is not None
        assert agent.shipped is not None
        assert agent.recipe.built.label == agent.shipped.label
        assert agent.recipe.config["reference"] == agent.name
        assert agent.recommendations


@pytest.mark.parametrize(
    ("version", "field", "words"),
    [
        (3, "recipe", "is missing"),
        (3, "recommendations", "is missing"),
        (2, "recipe", "is unknown"),
        (1, "recommendations", "is unknown"),
        (3, "evidence", "is unknown"),
        (1, "evidence", "is unknown"),
    ],
)
def test_fields_of_later_versions_are_there_exactly_from_theirs_on(
    version: int, field: str, words: str, tmp_path: Path
) -> None:
    data, path = changed(version, tmp_path)
    if words == "is missing":
        del data["agents"][0][field]
    else:
        data["agents"][0][field] = [] if field == "recommendations" else None
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(ReportError, match=rf"agents\.0\.{field}' {words}"):
        load_report(path)


def test_a_part_of_a_recipe_that_was_cut_out_is_named(tmp_path: Path) -> None:
    data, path = changed(3, tmp_path)
    del data["agents"][1]["recipe"]["built"]["contents"]
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(ReportError, match=r"agents\.1\.recipe\.built\.contents' is missing"):
        load_report(path)


def _without_codes(data: Any) -> Any:
    """Plain data of a report as version 4 was before reasons had codes."""
    if isinstance(data, dict):
        return {
            name: _without_codes(item) for name, item in data.items() if name not in ("reason_code", "remedy")
        }
    return [_without_codes(item) for item in data] if isinstance(data, list) else data


def test_version_4_without_codes_opens(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_report(report(), path)
    assert load_report(path).agents[1].reason_code is ReasonCode.NOTHING_FASTER
    data = _without_codes(json.loads(path.read_text(encoding="utf-8")))
    path.write_text(json.dumps(data), encoding="utf-8")
    agents = load_report(path).agents
    assert [agent.reason for agent in agents] == [agent.reason for agent in report().agents]
    assert {agent.reason_code for agent in agents} == {None}
    assert {row.reason_code for row in agents[0].candidates} == {None}


def test_version_3_has_no_codes(tmp_path: Path) -> None:
    data, path = changed(3, tmp_path)
    data["agents"][0]["candidates"][0]["reason_code"] = None
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(ReportError, match=r"agents\.0\.candidates\.0\.reason_code' is unknown"):
        load_report(path)
