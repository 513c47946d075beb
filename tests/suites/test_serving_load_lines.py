"""What is made of the engine's figures under load."""

from __future__ import annotations

from dataclasses import replace

import pytest

from grandopt.suites.serving.load_lines import under_load
from grandopt.suites.serving.result import Line
from grandopt.suites.serving.wire import LoadPoint, SteadyRound, UnderLoad


def point(fraction: float, goodput: float, p99: float | None, critical: float | None) -> LoadPoint:
    return LoadPoint(
        fraction,
        1000.0,
        1000 * fraction,
        kept_up=True,
        goodput=goodput,
        p50_s=1e-4,
        p99_s=p99,
        critical_p99_s=critical,
        requests=9000,
        refused=1200,
        let_in=7,
        refused_p50_s=1e-5,
        refused_p99_s=1e-3,
        failed=0,
        lost=0,
    )


@pytest.fixture
def found() -> UnderLoad:
    rounds = tuple(
        SteadyRound(2e-4, point(0.7, 700.0, p99, critical), bare)
        for p99, critical, bare in ((5e-4, 4e-4, 2e-4), (7e-4, 5e-4, 2.2e-3), (9e-2, 6e-4, 9e-2))
    )
    points = (point(1.0, 1000.0, 2e-3, 6e-4), point(1.5, 950.0, 9e-3, 9e-4))
    return UnderLoad(0.02, 5e-4, rounds, points, grown_bytes=2_000_000, deepest=90, bound=4096)


def named(lines: list[Line]) -> dict[str, Line]:
    return {line.text.split(" ÷")[0]: line for line in lines}


def test_each_line_is_what_it_says(found: UnderLoad) -> None:
    lines = named(under_load("gate", found))
    assert lines["p99 at 70 %"].value == pytest.approx(7e-4 / (3 * 2e-4 + 5e-4))
    assert lines["150 %: goodput"].value == pytest.approx(0.95)
    assert lines["150 %: CRITICAL p99"].value == pytest.approx(1.8)
    assert lines["150 %: p99 from asked to refused"].value == pytest.approx(0.05)
    assert lines["150 %: memory grown in the second half"].value == 2.0
    assert all(line.met for line in lines.values())


def test_what_the_machine_itself_does_to_the_tail_stands_beside_it(found: UnderLoad) -> None:
    line = named(under_load("gate", found))["p99 at 70 %"]
    assert line.note.startswith("the median of 3 rounds; each: 0.45 times at a saturation of 1000/s, bare")
    assert (
        "0.64 times at a saturation of 1000/s, bare threads as busy, without the engine, 2.00 times"
        in line.note
    )
    assert line.met  # it changes nothing about what is asked of the engine
    without = tuple(replace(one, bare_p99_s=None) for one in found.steady)
    assert "bare" not in named(under_load("gate", replace(found, steady=without)))["p99 at 70 %"].note


def test_most_rounds_have_to_hold(found: UnderLoad) -> None:
    good, _, bad = found.steady
    assert named(under_load("gate", replace(found, steady=(bad, good, bad))))["p99 at 70 %"].met is False


def test_what_has_too_few_requests_has_no_value(found: UnderLoad) -> None:
    def few(one: LoadPoint) -> LoadPoint:
        return replace(one, p99_s=None, critical_p99_s=None, refused=0, refused_p99_s=None)

    scarce = replace(
        found,
        steady=tuple(replace(one, point=few(one.point)) for one in found.steady),
        points=tuple(few(one) for one in found.points),
    )
    lines = named(under_load("gate", scarce))
    missing = {text: line for text, line in lines.items() if line.value is None}
    assert len(missing) == 3
    assert all(line.met is None and line.reason for line in missing.values())
    assert missing["150 %: p99 from asked to refused"].reason == "nothing was refused"


def test_what_the_loop_could_not_ask_for_is_not_held_against_the_engine(found: UnderLoad) -> None:
    *before, last = found.points
    lines = named(under_load("gate", replace(found, points=(*before, replace(last, kept_up=False)))))
    assert lines["150 %: goodput"].met is None
    assert "asking takes longer" in (lines["150 %: goodput"].reason or "")


def test_a_collapse_is_missed(found: UnderLoad) -> None:
    *before, last = found.points
    lines = named(under_load("gate", replace(found, points=(*before, replace(last, goodput=500.0)))))
    assert lines["150 %: goodput"].met is False
