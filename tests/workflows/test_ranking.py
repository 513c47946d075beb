"""Who leads in a benchmark, from samples whose medians are known."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from grandopt.measurement.result import Measurement, ProcessSamples, SubjectSamples
from grandopt.measurement.settings import MeasurementSettings
from grandopt.measurement.subject import Subject
from grandopt.reason import Reason, ReasonCode
from grandopt.reporting.report import AgentReport
from grandopt.workflows.benchmark.ranking import Competitor, Ranking, mean_leads
from tests.workflows.fakes import MACHINE, WORK

SUBJECT = Subject("any", Path("nowhere"))
MISSING = Reason(ReasonCode.ENGINE_MISSING, "not installed")
CRASHED = Reason(ReasonCode.CRASHED, "it crashed")


def competitor(name: str, engine: str, precision: str = "float32") -> Competitor:
    return Competitor(name, engine, precision, 1, "verified", subject=SUBJECT)


def measurement(batch: int = 1, **medians_us: float) -> Measurement:
    """Every call of a subject takes as long as it says."""

    def samples(us: float) -> ProcessSamples:
        calls = np.full((5, 50), int(us * 1e3))
        return ProcessSamples(calls, calls.astype(np.float64), 1, 1, 1, 50, 10**6, 1000, 30.0)

    subjects = tuple(SubjectSamples(label, (samples(us),)) for label, us in medians_us.items())
    return Measurement(subjects, MeasurementSettings(batch=batch), 256)


def ranking(*competitors: Competitor, **more: Measurement) -> Ranking:
    single = more.pop("single")
    larger = {item.settings.batch: item for item in more.values()}
    return Ranking(competitors, {1: single, **larger}, {"odd": CRASHED}, MACHINE, WORK)


def test_our_engine_is_compared_with_the_fastest_other_at_each_precision() -> None:
    found = ranking(
        competitor("native", "native"),
        competitor("half", "native", "bfloat16"),
        competitor("ort", "onnxruntime"),
        competitor("int8", "onnxruntime", "int8_dynamic"),
        single=measurement(original=40.0, native=2.0, half=1.0, ort=8.0, int8=3.0),
        larger=measurement(32, original=80.0, native=60.0, half=50.0, ort=30.0, int8=90.0),
    ).leads()

    assert [(item.precision, item.batch) for item in found] == [
        ("float32", 1),
        ("float32", 32),
        ("any", 1),
        ("any", 32),
    ]
    assert [(item.label, item.rival_label) for item in found] == [
        ("native", "ort"),
        ("native", "ort"),
        ("half", "int8"),
        ("half", "ort"),
    ]
    assert [item.ratio.value for item in found] == pytest.approx([4.0, 0.5, 3.0, 0.6])


def test_without_our_engine_the_fastest_leads() -> None:
    (lead, again) = ranking(
        competitor("ort", "onnxruntime"), single=measurement(original=40.0, ort=8.0)
    ).leads()
    assert (lead.engine, lead.rival, lead.ratio.value) == (
        "onnxruntime",
        "eager",
        pytest.approx(5.0),
    )
    assert again.precision == "any"
    assert ranking(single=measurement(original=40.0)).leads() == ()


def test_rows_are_in_order_and_keep_the_reasons() -> None:
    absent = Competitor("executorch", "executorch", "float32", 1, "unavailable", MISSING)
    rows = ranking(
        absent,
        competitor("ort", "onnxruntime"),
        competitor("odd", "openvino"),
        competitor("native", "native"),
        single=measurement(original=40.0, native=2.0, ort=8.0),
        larger=measurement(32, original=64.0, native=64.0, ort=32.0),
    ).rows()

    assert [(row.label, row.status) for row in rows] == [
        ("native", "chosen"),
        ("ort", "slower"),
        ("executorch", "unavailable"),
        ("odd", "failed"),
    ]
    assert rows[1].behind is not None
    assert rows[1].behind.value == pytest.approx(4.0)
    assert rows[1].speedup is not None
    assert rows[1].speedup.value == pytest.approx(5.0)
    assert [(item.batch, item.figures.p50_us) for item in rows[1].batches] == [(32, 32.0)]
    assert rows[0].figures is not None
    assert rows[0].figures.limit_us == pytest.approx(0.31)  # see WORK
    assert rows[0].figures.limit_factor == pytest.approx(2.0 / 0.31)
    assert (rows[2].reason, rows[2].reason_code) == ("not installed", ReasonCode.ENGINE_MISSING)
    assert (rows[3].reason, rows[3].reason_code) == ("it crashed", ReasonCode.CRASHED)
    assert [row.reason_code for row in rows[:2]] == [None, ReasonCode.SLOWER]


def test_the_mean_over_agents_is_geometric() -> None:
    def agent(name: str, native: float) -> AgentReport:
        leads = ranking(
            competitor("native", "native"), single=measurement(original=40.0, native=native)
        ).leads()
        return AgentReport(name=name, status="measured", leads=leads)

    found = mean_leads([agent("a", 2.0), agent("b", 10.0), AgentReport(name="c", status="measured")])
    assert [item.precision for item in found] == ["float32", "any"]
    assert found[0].agents == 2
    assert found[0].ratio == pytest.approx(math.sqrt(20.0 * 4.0))
    assert (found[0].least, found[0].largest) == (pytest.approx(4.0), pytest.approx(20.0))
    assert mean_leads([agent("a", 2.0)]) == ()
