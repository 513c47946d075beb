"""The gate's result as JUnit XML, the form in which CI servers read test results.

A figure is a test case, its agent the class and the suite. A regression is a failure; what is inconclusive or
was skipped is skipped, because it says nothing against the candidate (the exit code tells them apart). There
is no official schema; these are the elements and attributes that Jenkins, GitLab and GitHub's actions read.
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from grandopt.reporting.atomic_write import write_text_atomically
from grandopt.reporting.gate.result import AgentGate, FigureReport, GateReport
from grandopt.reporting.gate.view import FIGURE_NAMES, cells, sentence

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, escaped or not."""


def junit(report: GateReport) -> str:
    """The XML document."""
    root = ElementTree.Element("testsuites", _counts([f for agent in report.agents for f in agent.figures]))
    root.set("name", "grandopt compare")
    root.set("time", f"{report.duration_s:.3f}")
    for agent in report.agents:
        root.append(_suite(agent, report))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def write_junit(report: GateReport, path: Path) -> None:
    """Write it whole; creates the folder. Raises OutputError when the place cannot be written."""
    write_text_atomically(path, junit(report))


def _suite(agent: AgentGate, report: GateReport) -> ElementTree.Element:
    suite = ElementTree.Element("testsuite", _counts(agent.figures))
    suite.set("name", _text(agent.name))
    suite.set("time", f"{agent.seconds:.3f}")
    suite.set("timestamp", report.started.partition(".")[0].removesuffix("Z"))
    for place, figure in enumerate(agent.figures):
        # The time of an agent is that of all its figures together; it stands at the first.
        case = ElementTree.SubElement(
            suite,
            "testcase",
            classname=_text(f"grandopt.{agent.name}"),
            name=FIGURE_NAMES[figure.figure],
            time=f"{agent.seconds if place == 0 else 0.0:.3f}",
        )
        _result(case, figure)
    return suite


def _result(case: ElementTree.Element, figure: FigureReport) -> None:
    message = _text(sentence(figure))
    if _failed(figure):
        ElementTree.SubElement(case, "failure", message=message, type="regression").text = message
    elif figure.outcome != "pass":
        ElementTree.SubElement(case, "skipped", message=f"{figure.outcome}: {message}")
    row = ", ".join(cells(figure)[1:])
    ElementTree.SubElement(case, "system-out").text = _text(
        f"baseline, candidate, change, interval, limit, outcome: {row}"
    )


def _counts(figures: tuple[FigureReport, ...] | list[FigureReport]) -> dict[str, str]:
    failures = sum(map(_failed, figures))
    passed = sum(figure.outcome == "pass" for figure in figures)
    return {
        "tests": str(len(figures)),
        "failures": str(failures),
        "errors": "0",
        "skipped": str(len(figures) - failures - passed),
    }


def _failed(figure: FigureReport) -> bool:
    return figure.outcome == "regression" and not figure.advisory


def _text(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
