"""What the gate writes: its own result, JUnit XML, Markdown, and the words in them."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from pydantic import ValidationError

from grandopt.errors import OutputError
from grandopt.reporting.gate.junit import junit, write_junit
from grandopt.reporting.gate.markdown import append_markdown, markdown
from grandopt.reporting.gate.result import GateReport
from grandopt.reporting.gate.view import headline, machine_noise, sentence
from tests.compare.gates import agent, figure, gate

MIXED = gate(
    agent(figure("regression"), figure("pass", figure="size", unit="bytes", low=None, high=None)),
    agent(figure("inconclusive"), figure("skipped", figure="accuracy", unit="relative L2"), name="other"),
    agent(figure("pass"), figure("regression", figure="instructions", advisory=True), name="third"),
)


def test_the_result_survives_json() -> None:
    assert GateReport.model_validate_json(MIXED.model_dump_json(), strict=True) == MIXED


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        (["pass", "skipped"], "pass"),
        (["pass", "inconclusive"], "inconclusive"),
        (["inconclusive", "regression", "pass"], "regression"),
    ],
)
def test_the_worst_figure_decides(outcomes: list[str], expected: str) -> None:
    assert agent(*map(figure, outcomes)).outcome == expected


def test_an_outcome_that_does_not_follow_is_refused() -> None:
    with pytest.raises(ValidationError, match="does not follow from its figures"):
        agent(figure("regression"), outcome="pass")
    with pytest.raises(ValidationError, match="does not follow from those of the agents"):
        gate(agent(figure("regression")), outcome="pass")
    with pytest.raises(ValidationError, match="needs a reason"):
        figure("skipped", reason=None)


def test_sentences() -> None:
    assert sentence(figure("regression")) == "p50 latency grew by 10.2 % (+8.2 % to +12.2 %), limit 5 %"
    assert sentence(figure("inconclusive")) == (
        "p50 latency grew by 4.0 % (+2.0 % to +6.0 %), limit 5 %; about 9 more processes would settle it: "
        "--processes 13"
    )
    assert sentence(figure("inconclusive", more=None)).endswith("the change lies at the limit")
    assert sentence(figure("skipped")) == "p50 latency: was not measured"
    answers = figure("regression", figure="accuracy", unit="relative L2", low=None, high=None, limit=0.02)
    assert sentence(answers) == "answers differ by 10.2 % (relative L2), limit 2 %"


def test_noise_is_told() -> None:
    assert machine_noise(agent()) == "A/A within 1.2 %"
    assert machine_noise(agent(figure(noise=None))) is None
    assert "gate: A/A within 1.2 %" in markdown(gate()).splitlines()


def test_headline() -> None:
    assert headline(gate()) == "pass: 1 agent, no regression; main → artifacts"
    assert headline(MIXED) == "regression: 1 of 3 agents (gate); main → artifacts"


def test_junit_counts_what_it_holds() -> None:
    root = ElementTree.fromstring(junit(MIXED))
    assert root.tag == "testsuites"
    suites = root.findall("testsuite")
    assert [suite.get("name") for suite in suites] == ["gate", "other", "third"]
    for element in (root, *suites):
        cases = list(element.iter("testcase"))
        assert int(element.get("tests", "")) == len(cases)
        assert int(element.get("errors", "")) == 0
        for attribute, child in (("failures", "failure"), ("skipped", "skipped")):
            assert int(element.get(attribute, "")) == sum(case.find(child) is not None for case in cases)
        assert float(element.get("time", "")) >= 0
    for suite in suites:
        assert suite.get("timestamp") == "2026-01-02T03:04:05"
        for case in suite.findall("testcase"):
            assert case.get("classname") == f"grandopt.{suite.get('name')}"
            assert float(case.get("time", "")) >= 0
    assert len({(case.get("classname"), case.get("name")) for case in root.iter("testcase")}) == 6
    failures = root.findall(".//failure")
    assert [failure.get("type") for failure in failures] == ["regression"]
    assert failures[0].get("message") == sentence(figure("regression"))
    reasons = [str(element.get("message")) for element in root.iter("skipped")]
    assert [reason.partition(":")[0] for reason in reasons] == ["inconclusive", "skipped", "regression"]


EVIL = '<b>&"]]>\x1b[31m\x00|`*\n</testsuite>'


def test_junit_holds_what_xml_would_take_for_its_own() -> None:
    report = gate(agent(figure("skipped", reason=EVIL), name=EVIL), baseline=EVIL)
    root = ElementTree.fromstring(junit(report))
    shown = EVIL.replace("\x1b", "\ufffd").replace("\x00", "\ufffd")
    assert root.findall("testsuite")[0].get("name") == shown
    assert shown in str(next(root.iter("skipped")).get("message"))


def test_markdown_is_one_table_with_a_row_per_figure() -> None:
    lines = markdown(MIXED).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 2 + 6
    assert {line.count("|") for line in rows} == {9}
    assert lines[0] == "### grandopt compare: ❌ regression: 1 of 3 agents (gate); main → artifacts"
    assert "| ❌ | gate | p50 latency | 568 ns | 626 ns | +10.2 % | +8.2 to +12.2 % | 5 % |" in rows
    assert "- **other**: answers: was not measured" in lines


def test_markdown_holds_what_it_would_take_for_its_own() -> None:
    text = markdown(gate(agent(figure("skipped", reason=EVIL), name=EVIL), baseline=EVIL))
    assert "<b>" not in text
    assert "\x1b" not in text
    assert "\x00" not in text
    row = next(line for line in text.splitlines() if line.startswith("| ➖"))
    assert row.replace("\\|", "").count("|") == 9
    assert "\\`\\*" in row


def test_a_summary_is_appended(tmp_path: Path) -> None:
    file = tmp_path / "summary.md"
    file.write_text("before\n", encoding="utf-8")
    append_markdown(gate(), file)
    append_markdown(MIXED, file)
    text = file.read_text(encoding="utf-8")
    assert text.startswith("before\n### grandopt compare: ✅")
    assert text.count("### grandopt compare") == 2


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"gate\.xml: cannot be written"):
        write_junit(gate(), tmp_path / "file" / "gate.xml")
    with pytest.raises(OutputError, match="cannot be written"):
        append_markdown(gate(), tmp_path)
