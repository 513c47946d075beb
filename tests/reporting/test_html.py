"""The page of a report: whole, self-contained, and with nothing in it that a name could smuggle in."""

from __future__ import annotations

import copy
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from grandopt.errors import OutputError, ReportError
from grandopt.reporting.history.store import read
from grandopt.reporting.html.page import render, write_page
from grandopt.reporting.recommendations.advice import GainReport, Recommendation
from grandopt.reporting.report import (
    AgentReport,
    BatchPoint,
    CurveReport,
    DistributionReport,
    Figures,
    LeadReport,
    LoadCurveReport,
    MeanLeadReport,
    Report,
    load_report,
    write_report,
)
from tests.reporting.conftest import HOSTILE
from tests.reporting.history import records as past
from tests.reporting.samples import (
    failed,
    figures,
    kept,
    load_curve,
    load_point,
    optimized,
    report,
    shipped,
    speedup,
    tuning,
)
from tests.reporting.test_golden import VERSIONS, golden


class Elements(HTMLParser):
    """All tags with their attributes, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def count(self, tag: str) -> int:
        return sum(1 for name, _ in self.tags if name == tag)

    def attribute(self, name: str) -> list[str]:
        return [value for _, attrs in self.tags if (value := attrs.get(name)) is not None]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_part_of_a_real_report_is_there(version: int) -> None:
    data = load_report(golden(version))
    page = Elements(render(data))
    for agent in data.agents:
        for candidate in agent.candidates:
            assert candidate.label in page.text
            assert candidate.reason is None or candidate.reason in page.text
    titles = (
        "Latency distribution",
        "Speed-up of the candidates",
        "Precision error against the limit",
        "Batch curve",
        "Cold start",
        "Memory",
        "Distance to the machine's limit",
        "Tuning history",
    )
    for title in titles:
        assert page.text.count(title) == len(data.agents), title
    assert page.count("svg") == 1 + len(titles) * len(data.agents)
    assert data.environment["cpu_model"] in page.text
    assert data.environment["libraries"]["torch"] in page.text
    assert "grandopt optimize --agent lvn_embedder" in page.text


def test_the_page_needs_nothing_but_itself(real_page: str) -> None:
    page = Elements(real_page)
    assert page.count("script") == page.count("img") == page.count("iframe") == 0
    links = page.attribute("href") + page.attribute("src") + page.attribute("xlink:href")
    assert links
    assert all(link.startswith(("#", "data:")) for link in links)
    identifiers = Counter(page.attribute("id"))
    assert max(identifiers.values()) == 1
    assert all(link.removeprefix("#") in identifiers for link in links if link.startswith("#"))
    for reference in page.attribute("clip-path"):
        assert reference.removeprefix("url(#").removesuffix(")") in identifiers


def test_colours_are_those_of_the_style_sheet(real_page: str) -> None:
    assert "#0101" not in real_page
    assert "var(--before)" in real_page.partition("</style>")[2]


@pytest.mark.parametrize("make", [optimized, kept, failed])
def test_html_in_any_text_is_shown_and_not_run(make: Any) -> None:
    agent: AgentReport = make(HOSTILE, reason=HOSTILE)
    hostile = agent.model_copy(
        update={
            "candidates": tuple(
                row.model_copy(
                    update={"label": f"{row.label} {HOSTILE}", "reason": HOSTILE, "speedup": speedup()}
                )
                for row in optimized().candidates
            )
        }
    )
    page = Elements(render(report(hostile, command=("grandopt", HOSTILE), environment={HOSTILE: HOSTILE})))
    assert page.count("script") == page.count("img") == 0
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert "\u202e" not in page.text.split("Every candidate")[0]


def test_the_same_report_gives_the_same_page() -> None:
    assert render(report()) == render(report())


def test_importance_is_drawn_where_the_report_has_it() -> None:
    text = render(report(optimized(tuning=tuning(importance={"threads": 0.25, "candidate": 0.75}))))
    assert "Parameter importance" in text
    assert ">candidate</text>" in text
    assert ">threads</text>" in text
    assert "too few complete trials" in render(report(optimized()))


@pytest.mark.parametrize("agents", [(), (failed(),), (kept(original=None, shipped=None),)])
def test_a_report_without_figures_is_a_page(agents: tuple[AgentReport, ...]) -> None:
    data = report().model_copy(update={"agents": agents})
    page = Elements(render(data))
    assert page.count("svg") == 0
    assert all(agent.name in page.text and str(agent.reason) in page.text for agent in agents)


def test_a_benchmark_shows_the_fastest_and_who_leads() -> None:
    lead = {"precision": "float32", "engine": "native"}
    one = LeadReport(
        label="native/float32", rival="eager", rival_label="eager/float32", ratio=speedup(), **lead
    )
    agent = optimized(status="measured", reason=None, shipped=None, leads=(one,))
    mean = MeanLeadReport(agents=1, ratio=2.0, least=2.0, largest=2.0, **lead)
    page = Elements(render(report(agent, kind="benchmark", leads=(mean,))))
    assert "None" not in page.text
    assert "50.0 µs → 25.0 µs" in " ".join(page.text.split())
    assert "the fastest" in page.text
    assert "native/float32: 2.0× (1.9–2.1) as fast as eager/float32" in page.text
    assert "2.00× over 1 agent," in page.text


@pytest.mark.parametrize(
    "value", [0.0, 5e-324, 1.7e308, *(pytest.param(size, marks=pytest.mark.slow) for size in (1e-9, 1e12))]
)
def test_figures_beyond_any_axis_are_still_a_page(value: float) -> None:
    amounts = [name for name in Figures.model_fields if name.endswith(("_us", "_ms", "_mb", "_factor"))]
    extreme = (
        figures()
        .model_copy(update=dict.fromkeys(amounts, value))
        .model_copy(update={"distribution": DistributionReport(shares=(0.0, 0.5), us=(value / 2, value))})
    )
    point = BatchPoint(batch=1, p50_us=value, throughput=value, calls=1, stable=False)
    line = {"per_observation_us": -value, "fixed_us": value}
    curves = tuple(CurveReport(label="a", threads=1, points=(point,), **line) for _ in range(5))
    study = tuning(score=value)
    agent = optimized(original=extreme, shipped=shipped(figures=extreme), curves=curves, tuning=study)
    assert Elements(render(report(agent))).count("section") == 1 + 3


@pytest.mark.parametrize(
    "name",
    [
        *("取引🙂", "\x00\x1b[31m", "\ud800", "${\\bf"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("a\nb", "_x", "", "x" * 500)),
    ],
)
def test_any_name_is_drawn(name: str) -> None:
    named = tuple(row.model_copy(update={"label": name}) for row in optimized().candidates)
    text = render(report(optimized(name, candidates=named)))
    assert text.encode("utf-8")
    assert "\x00" not in text


def test_advice_stands_with_its_evidence_its_command_and_its_gain() -> None:
    advice = Recommendation(
        topic="batch",
        advice=f"batch {HOSTILE}",
        evidence=f"evidence {HOSTILE}",
        command=("grandopt", "tune", "--agent", HOSTILE),
        gain=GainReport(kind="measured", factor=3.25, of="throughput", note=f"at {HOSTILE}"),
    )
    page = Elements(render(report(optimized(recommendations=(advice,)))))
    assert page.count("script") == page.count("img") == 0
    assert page.text.count("What to try next") == 2  # of all agents, and of this one
    assert f"measured: 3.2× the throughput, at {HOSTILE}".replace("\u202e", "\\u202e") in page.text
    assert "grandopt tune --agent" in page.text
    assert "give several observations in one call: decision_gate; measured 3.2× the throughput" in page.text
    assert "What to try next" not in render(report(optimized()))


def test_agents_over_time_are_those_of_the_same_machine_and_kind(tmp_path: Path) -> None:
    path = past.step(tmp_path / "history.sqlite", [20.0] * 8 + [25.0] * 8)
    same = past.run(20, past.agent(25.0))
    page = Elements(render(same, read(path)))
    assert "Over time" in page.text
    assert "2026-01-09 00:00: p50 20.0 µs → 25.0 µs (+25 %" in page.text
    for other in (
        same.model_copy(update={"kind": "benchmark"}),
        same.model_copy(update={"environment": past.MACHINE | {"identity": "cd" * 32}}),
        same.model_copy(update={"threads": "auto"}),
    ):
        assert "Over time" not in render(other, read(path))
    assert "Over time" not in render(same, read(path)[:1])  # one run is no line


def loaded(*curves: LoadCurveReport) -> AgentReport:
    """An agent that was put under load, and measured in no other way."""
    return AgentReport(name="gate", status="measured", reason="native float32 under load", loads=curves)


def test_latency_under_load_is_drawn_with_what_is_sustained() -> None:
    absent = LoadCurveReport(
        label="eager", arrivals="poisson", seconds=1, warmup_s=0, reason=f"no program {HOSTILE}"
    )
    page = Elements(
        render(report(loaded(load_curve(), load_curve("direct", 0.25), absent), kind="benchmark"))
    )
    assert page.count("svg") == 1
    assert page.count("script") == 0
    text = " ".join(page.text.split())
    assert "Sustained: engine, aggressive 100k/s, direct 25.0k/s. engine, aggressive: 4× direct." in text
    assert "requests were made late, so that there was less load than asked for: engine, aggressive" in text
    assert "eager: no program" in text
    assert "The dotted line is the deadline." in text


@pytest.mark.parametrize("us", [0.0, 5e-324, 1e13, None])
def test_load_beyond_any_axis_is_still_a_page(us: float | None) -> None:
    points = tuple(load_point(rate, us) for rate in (0.0, 1e-13, 1.0, 1e13))
    agent = loaded(load_curve(points=points, deadline_ms=us or None))
    assert Elements(render(report(agent))).count("section") == 1 + 3
    assert "Under load" not in render(report(loaded()))


def test_a_partial_report_says_so() -> None:
    assert "interrupted" in render(report(status="partial"))


@pytest.mark.parametrize(
    ("part", "field"), [("verification", "outputs"), ("verification", "agreement"), ("tuning", "trials")]
)
def test_a_field_cut_out_of_the_evidence_is_named(part: str, field: str, tmp_path: Path) -> None:
    data = report(optimized()).model_dump(mode="json")
    place = data["agents"][0] if part == "tuning" else data["agents"][0]["candidates"][0]
    place[part] = {name: value for name, value in copy.deepcopy(place[part]).items() if name != field}
    write_report(Report.model_validate(data), tmp_path / "report.json")
    with pytest.raises(ReportError) as caught:
        write_page(tmp_path / "report.json", tmp_path / "report.html")
    assert str(tmp_path / "report.json") in str(caught.value)
    assert f"{part}: field '{field}' is missing" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "report.html").exists()


def test_the_report_itself_is_never_overwritten(tmp_path: Path) -> None:
    source = tmp_path / "report.json"
    write_report(report(), source)
    before = source.read_bytes()
    with pytest.raises(OutputError, match="is the report itself"):
        write_page(source, source)
    assert source.read_bytes() == before
