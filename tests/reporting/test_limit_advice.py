"""What is advised by the distance to the machine's limit, and what is said of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grandopt.config.engine import PRECISIONS
from grandopt.reason import ReasonCode
from grandopt.reporting.machine_limit import below_limit, limit_rows
from grandopt.reporting.recommendations.advice import Recommendation
from grandopt.reporting.report import AgentReport, CandidateReport, LimitReport, RefusalReport
from grandopt.reporting.verdict import verdict
from tests.reporting.samples import figures, optimized, shipped
from tests.reporting.test_recommend import found, row


def limit(us: float, precision: str = "float32", **changes: Any) -> LimitReport:
    values: dict[str, Any] = {
        "us": us,
        "bound": "reading",
        "precision": precision,
        "instructions": "x86-64-v3",
        "cache": "L2",
        "speed": 99.0,
        "threads": 1,
        "source": "kernels",
    }
    return LimitReport(**(values | changes))


def agent(
    p50_us: float, own: LimitReport, others: tuple[LimitReport, ...] = (), **changes: Any
) -> AgentReport:
    """What was shipped at the precision of `own`, and the limits at the others."""
    at = figures(
        p50_us, limit_us=own.us, limit_factor=p50_us / own.us, limit=own, below_limit=p50_us < own.us
    )
    label = f"native/{own.precision}"
    made = shipped(label=label, engine="native", precision=own.precision, figures=at)
    chosen = CandidateReport(
        label=label, engine="native", precision=own.precision, status="chosen", figures=at
    )
    rows = (chosen, *changes.pop("rows", ()))
    values = {"candidates": rows, "refusals": (), "shipped": made, "limits": (own, *others)} | changes
    return optimized(**values)


def advised(agent: AgentReport) -> dict[str, Recommendation]:
    topics = ("limit", "bits", "headroom")
    return {topic: item for topic, item in found(agent).items() if topic in topics}


HALF = (limit(0.5, "bfloat16"), limit(0.25, "int8_dynamic"))


def test_there_is_nothing_to_do_at_the_limit_of_the_best_precision_alone() -> None:
    (item,) = advised(agent(1.09, limit(1.0))).values()
    assert (item.topic, item.gain.kind, item.gain.factor) == ("limit", "at most", pytest.approx(1.09))
    assert advised(agent(1.11, limit(1.0))) == {}
    assert "limit" not in advised(agent(1.09, limit(1.0), HALF))
    int8 = limit(0.25, "int8_dynamic")
    assert set(advised(agent(0.27, int8, (limit(1.0), limit(0.5, "bfloat16"))))) == {"limit"}


def test_near_the_limit_of_its_precision_fewer_bytes_are_what_helps() -> None:
    item = advised(agent(1.25, limit(1.0), HALF))["bits"]
    assert item.advice == (
        "the weights are read at 80% of the speed of the caches (as far as L2): fewer bytes is what helps; "
        "int8_dynamic was not measured: it was not among the precisions of this run"
    )
    assert item.evidence == (
        "p50 1.25 µs, 1.2× the machine's limit of 1.00 µs (float32 weights from as far as L2 at 99 "
        "GB/s, x86-64-v3)"
    )
    assert (item.gain.kind, item.gain.factor) == ("at most", pytest.approx(5.0))
    assert item.command == ("grandopt", "optimize", "--precision", "int8_dynamic")
    computed = limit(1.0, bound="arithmetic", cache=None)
    words = advised(agent(1.25, computed, HALF))["bits"].advice
    assert words.startswith("the arithmetic is at 80% of the peak of float32: int8_dynamic is what helps; ")


def test_it_says_why_a_precision_was_not_measured() -> None:
    wanted = RefusalReport(
        stage="int8_dynamic", reason="it needs samples", reason_code=ReasonCode.NEEDS_SAMPLES
    )
    item = advised(agent(1.25, limit(1.0), HALF, refusals=(wanted,)))["bits"]
    assert item.advice.endswith("; int8_dynamic was not measured: it needs samples")
    assert item.command[-2:] == ("--samples", "FILE.npz")
    slow = row("slower", "", label="native/int8_dynamic", precision="int8_dynamic", figures=figures(2.0))
    item = advised(agent(1.25, limit(1.0), HALF, rows=(slow,)))["bits"]
    assert item.advice.endswith("; native/int8_dynamic takes 2.00 µs, far from its own limit")
    assert item.command == ("grandopt", "benchmark", "--operators")


def test_a_precision_that_verification_refused_is_no_way_out() -> None:
    refused = tuple(
        row("refused", "too far", label=f"native/{name}", precision=name)
        for name in ("bfloat16", "int8_dynamic")
    )
    assert set(advised(agent(1.09, limit(1.0), HALF, rows=refused))) == {"limit"}
    assert advised(agent(1.25, limit(1.0), HALF, rows=refused)) == {}
    item = advised(agent(1.25, limit(1.0), HALF, rows=refused[1:]))["bits"]
    assert item.gain.factor == pytest.approx(2.5)  # bfloat16 is left


def test_far_from_the_limit_the_operators_are_looked_at() -> None:
    far = advised(agent(60.0, limit(10.0)))["headroom"]
    assert (far.gain.kind, far.gain.factor) == ("at most", pytest.approx(6.0))
    assert far.command == ("grandopt", "benchmark", "--operators")
    assert advised(agent(2.0, limit(0.03))) == {}  # the cost of a call, not of the arithmetic
    assert advised(agent(30.0, limit(10.0))) == {}


def test_a_limit_that_engines_can_pass_says_so_and_never_that_nothing_is_left() -> None:
    blas = limit(10.0, source="float32 BLAS", instructions="numpy's BLAS")
    assert advised(agent(10.5, blas)) == {}
    assert "numpy's float32 BLAS" in advised(agent(60.0, blas))["headroom"].gain.note


def test_a_figure_below_the_limit_is_a_fault_of_the_limit() -> None:
    below = agent(0.8, limit(1.0), HALF)
    assert advised(below) == {}
    (line,) = below_limit(below)
    assert line.startswith("native/float32: p50 800 ns is below the machine's limit of 1.00 µs (")
    assert line.endswith(": a fault of the limit")
    assert "faster than the machine's limit, which is therefore wrong" in verdict(below)
    (line,) = below_limit(agent(0.8, limit(1.0, source="float32 BLAS")))
    assert line.endswith(": which is that of float32 BLAS")
    for other in (agent(0.8, limit(1.0, source="float32 BLAS")), agent(1.0, limit(1.0)), optimized()):
        assert "therefore wrong" not in verdict(other)
    assert list(below_limit(agent(1.0, limit(1.0)))) == []


def test_limits_that_are_the_same_are_one_row() -> None:
    both = (limit(1.0), *HALF, limit(0.25, "int8_static"))
    assert limit_rows(agent(2.0, both[0], both[1:])) == [
        ("float32", "1.00 µs a call (float32 weights from as far as L2 at 99 GB/s, x86-64-v3)"),
        ("bfloat16", "500 ns a call (bfloat16 weights from as far as L2 at 99 GB/s, x86-64-v3)"),
        (
            "int8_dynamic and int8_static",
            "250 ns a call (int8_dynamic weights from as far as L2 at 99 GB/s, x86-64-v3)",
        ),
    ]
    assert limit_rows(optimized(original=figures(50.0, limit_us=4.0))) == [("", "4.00 µs a call")]
    assert limit_rows(optimized()) == []


@given(
    st.floats(0.01, 1e4),
    st.dictionaries(st.sampled_from(PRECISIONS), st.floats(0.01, 1e4), min_size=1),
    st.sampled_from(PRECISIONS),
)
def test_nothing_to_do_is_said_exactly_within_a_tenth_of_the_best_limit(
    p50_us: float, limits: dict[str, float], own: str
) -> None:
    mine = limit(limits.get(own, 1.0), own)
    others = tuple(limit(us, name) for name, us in limits.items() if name != own)
    topics = advised(agent(p50_us, mine, others))
    best = min(item.us for item in (mine, *others))
    assert ("limit" in topics) == (p50_us >= mine.us and p50_us / best <= 1.1)
    assert len(topics) <= 1
