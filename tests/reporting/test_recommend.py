"""A recommendation is made where the figures of the run speak for it, and says no more than they do."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from pydantic import ValidationError

from grandopt.reason import ReasonCode
from grandopt.reporting.recommendations.advice import GainReport, Recommendation
from grandopt.reporting.recommendations.command_line import changed_command
from grandopt.reporting.recommendations.recommend import recommendations, with_recommendations
from grandopt.reporting.recommendations.words import command_text, gain_text, in_short
from grandopt.reporting.report import (
    AgentReport,
    BatchPoint,
    CandidateReport,
    CurveReport,
    RefusalReport,
    TargetsReport,
    load_report,
)
from tests.reporting.samples import (
    failed,
    figures,
    kept,
    optimized,
    report,
    shipped,
    speedup,
    verification,
)
from tests.reporting.test_golden import golden

PROFILE = {"name": "aggressive", "budget_s": 60.0}


def plain(**changes: Any) -> AgentReport:
    """An agent about which there is nothing to say."""
    row = CandidateReport(
        label="native/int8_dynamic",
        engine="native",
        precision="int8_dynamic",
        status="chosen",
        figures=figures(25.0),
        speedup=speedup(),
    )
    made = shipped(label=row.label, engine="native")
    return optimized(**({"candidates": (row,), "refusals": (), "shipped": made} | changes))


def found(agent: AgentReport, **changes: Any) -> dict[str, Recommendation]:
    run = report(agent, **({"profile": PROFILE} | changes))
    return {item.topic: item for item in recommendations(run, agent)}


def row(status: str, reason: str, engine: str = "openvino", **changes: Any) -> CandidateReport:
    values = {"label": f"{engine}/float32", "engine": engine, "precision": "float32", "threads": 1}
    return CandidateReport(**(values | {"status": status, "reason": reason} | changes))


def curve(*throughputs: float, stable: bool = True, label: str = "native/int8_dynamic") -> CurveReport:
    points = tuple(
        BatchPoint(batch=2**at, p50_us=2**at * 1e6 / rate, throughput=rate, calls=100, stable=stable)
        for at, rate in enumerate(throughputs)
    )
    return CurveReport(label=label, threads=1, points=points)


def test_nothing_is_recommended_where_nothing_speaks_for_it() -> None:
    assert found(plain()) == {}
    assert found(failed()) == {}
    assert found(kept(status="not run", shipped=None)) == {}


def test_samples_where_a_precision_was_left_out_for_want_of_them() -> None:
    refusal = RefusalReport(
        stage="int8_static", reason="calibration needs them", reason_code=ReasonCode.NEEDS_SAMPLES
    )
    item = found(plain(refusals=(refusal,)))["samples"]
    assert item.command == ("grandopt", "optimize", "--samples", "FILE.npz")
    assert item.gain.kind == "unknown"
    assert "no candidate of int8_static was built; the fastest that was tried takes 25.0 µs" in item.evidence
    other = RefusalReport(stage="export", reason="a branch depends on the data")
    assert found(plain(refusals=(other,))) == {}


def test_an_engine_that_is_missing_with_the_command_that_installs_it() -> None:
    reason = "No module named 'openvino': the engine is not installed; pip install 'grandopt[openvino]'"
    install = {"reason_code": ReasonCode.ENGINE_MISSING, "remedy": "pip install 'grandopt[openvino]'"}
    rows = [
        row("unavailable", reason, label=label, **install) for label in ("openvino/float32", "openvino/x")
    ]
    item = found(plain(candidates=(*plain().candidates, *rows)))["engine"]
    assert item.command == ("pip", "install", "grandopt[openvino]")
    assert item.evidence.startswith("2 of 3 candidates were not tried: No module named 'openvino'")
    assert (item.gain.kind, item.gain.factor) == ("unknown", None)


def test_a_remedy_of_several_commands_stays_one_shell_line() -> None:
    line = "python -m venv et && et/bin/pip install executorch"
    missing = row("unavailable", "not installed", reason_code=ReasonCode.ENGINE_MISSING, remedy=line)
    item = found(plain(candidates=(missing,)))["engine"]
    assert item.command == (line,)
    assert command_text(item.command) == line


@pytest.mark.parametrize("code", [ReasonCode.NEEDS_SAMPLES, ReasonCode.NEEDS_EVIDENCE])
def test_the_code_decides_whatever_the_words_say(code: ReasonCode) -> None:
    silent = RefusalReport(stage="int8_static", reason="it cannot be", reason_code=code)
    assert "samples" in found(plain(refusals=(silent,)))
    talkative = RefusalReport(stage="int8_static", reason="no --samples would help")
    late = row("not measured", "the time budget was used up", reason_code=ReasonCode.TRIALS_USED_UP)
    assert found(plain(refusals=(talkative,), candidates=(late,))).keys() <= {"threads", "batch", "limit"}


def test_an_engine_whose_installation_is_no_one_command() -> None:
    item = found(plain(candidates=(row("unavailable", "Python.h not found: install the headers", "native"),)))
    assert item["engine"].command == ()


def test_more_time_where_candidates_were_not_ready() -> None:
    late = {"reason_code": ReasonCode.NOT_BUILT_IN_TIME}
    rows = [row("not measured", "no time was left", label=f"inductor/{n}", **late) for n in range(6)]
    item = found(plain(candidates=tuple(rows)))["budget"]
    assert item.command[-2:] == ("--budget", "120")
    assert "6 of 6 candidates" in item.evidence
    assert "inductor/0, inductor/1, inductor/2, inductor/3 and 2 more" in item.evidence
    assert "budget" not in found(plain(candidates=tuple(rows)), profile=None)


@pytest.mark.parametrize(
    "agent",
    [
        plain(targets=TargetsReport(latency_ms=0.01, met=False, misses=("p50 25.0 µs, wanted 10.0 µs",))),
        plain(status="original kept", reason="nothing was faster", speedup=None),
    ],
)
def test_the_profile_maximum_where_something_is_wanting(agent: AgentReport) -> None:
    item = found(agent)["profile"]
    assert item.command == ("grandopt", "optimize", "--profile", "maximum")
    assert item.evidence in ("p50 25.0 µs, wanted 10.0 µs", "nothing was faster")
    assert "profile" not in found(agent, profile={"name": "maximum", "budget_s": 300.0})


def test_a_build_that_was_refused_by_little() -> None:
    base = plain(shipped=shipped(precision="float32"))
    refused = row(
        "refused", "too far", label="a/bfloat16", precision="bfloat16", verification=verification(0.03)
    )
    item = found(base.model_copy(update={"candidates": (refused,)}))["precision"]
    assert "its error is 0.03 of at most 0.02 (1.50× the limit)" in item.evidence
    assert item.command[-2:] == ("--profile", "maximum")  # which admits 0.05
    assert item.gain.kind == "unknown"
    for error, precision, kept_precision in ((0.041, "bfloat16", "float32"), (0.03, "bfloat16", "bfloat16")):
        other = refused.model_copy(update={"precision": precision, "verification": verification(error)})
        agent = plain(candidates=(other,), shipped=shipped(precision=kept_precision))
        assert "precision" not in found(agent)


def test_a_refused_build_of_an_engine_that_is_far_behind_is_left_alone() -> None:
    refused = row("refused", "too far", label="slow/bfloat16", precision="bfloat16", engine="eager")
    refused = refused.model_copy(update={"verification": verification(0.03)})
    for p50_us, expected in (
        (49.0, True),
        (51.0, False),
    ):  # bfloat16 halves the bytes, and what is shipped is 25
        full = row("slower", "", "eager", label="slow/float32", figures=figures(p50_us))
        agent = plain(candidates=(refused, full), shipped=shipped(precision="float32"))
        assert ("precision" in found(agent)) is expected


@pytest.mark.parametrize(("other_us", "bound"), [(150.0, 200 / 150), (101.0, 2 * 100 / 101)])
def test_threads_where_another_engine_could_win_by_them(other_us: float, bound: float) -> None:
    other = row("slower", "", figures=figures(other_us), speedup=speedup())
    agent = plain(candidates=(other,), shipped=shipped(100.0, engine="native"))
    item = found(agent)["threads"]
    assert item.gain.kind == "at most"
    assert item.gain.factor == pytest.approx(bound)
    assert item.command[-2:] == ("--threads", "auto")


@pytest.mark.parametrize(
    ("other_us", "shipped_us", "changes"),
    [
        (201.0, 100.0, {}),  # even twice as fast it would lose
        (30.0, 25.0, {}),  # too short to be shared
        (150.0, 100.0, {"threads": 2}),
        (150.0, 100.0, {"environment": {"available_cores": 1}}),
    ],
)
def test_no_threads_where_they_could_not_win(
    other_us: float, shipped_us: float, changes: dict[str, Any]
) -> None:
    other = row("slower", "", figures=figures(other_us), speedup=speedup())
    agent = plain(candidates=(other,), shipped=shipped(shipped_us, engine="native"))
    assert "threads" not in found(agent, **changes)


def test_batching_as_much_as_the_curve_measured() -> None:
    item = found(plain(curves=(curve(1000.0, 1800.0, 3100.0, 2900.0),)))["batch"]
    assert item.gain.kind == "measured"
    assert item.gain.factor == pytest.approx(3.1)
    assert "1.00k observations/s one by one, 3.10k at batch 4" in item.evidence
    assert item.command == ("grandopt", "tune", "--goal", "throughput")
    for other in (curve(1000.0, 1400.0), curve(1000.0, 3000.0, stable=False), curve(1e3, 9e3, label="other")):
        assert "batch" not in found(plain(curves=(other,)))


def test_an_unsteady_measurement_is_to_be_repeated() -> None:
    wide = figures(50.0, stable=False, p50_low_us=46.0, p50_high_us=54.0, processes=6)
    agent = plain(original=wide)
    item = found(agent, environment={"available_cores": 2, "governor": "powersave"})["unstable"]
    assert item.evidence.startswith("the 95 % interval of the median of the original is 46.0 µs to 54.0 µs;")
    assert item.evidence.endswith("the speed-up's is 1.9–2.1")
    assert "performance (it is powersave)" in item.advice
    assert (item.command, item.gain.kind) == (("grandopt", "optimize"), "none")
    idle = found(agent, environment={"governor": "performance"})["unstable"]
    assert idle.advice == "measure again on an idle machine"
    early = found(plain(original=figures(50.0, stable=False)))["unstable"]
    assert early.evidence.startswith("the speed of the original was not steady;"), "of an earlier version"


def test_a_measurement_that_time_cut_short_is_given_more() -> None:
    wide = figures(50.0, stable=False, p50_low_us=46.0, p50_high_us=54.0, processes=4)
    item = found(plain(original=wide), profile={"name": "basic", "budget_s": 10})["unstable"]
    assert item.advice.endswith(", or for longer: time was up after 4 of 6 processes")
    assert item.command[-2:] == ("--budget", "20")


COMMAND = (
    *("grandopt", "optimize", "a.zip", "--budget", "10", "--profile=basic", "--strict", "-q", "b.zip"),
    *("--engine", "native", "--samples", "s.npz"),
)


@pytest.mark.parametrize(
    ("changes", "to", "expected"),
    [
        (
            {},
            None,
            "optimize a.zip --budget 10 --profile=basic --strict -q b.zip --engine native --samples s.npz",
        ),
        (
            {"--budget": "20", "--profile": None},
            None,
            "optimize a.zip --strict -q b.zip --engine native --samples s.npz --budget 20",
        ),
        (
            {"--goal": "throughput"},
            "tune",
            "tune a.zip --budget 10 --profile=basic b.zip --engine native --samples s.npz --goal throughput",
        ),
    ],
)
def test_the_command_of_the_run_is_changed_in_one_place(
    changes: dict[str, str | None], to: str | None, expected: str
) -> None:
    one = report(plain(), command=COMMAND)
    assert shlex.join(changed_command(one, "decision_gate", changes, to=to)) == f"grandopt {expected}"
    two = report(plain(), kept(), command=COMMAND)
    assert changed_command(two, "decision_gate", changes, to=to)[-2:] == ("--agent", "decision_gate")


def test_a_run_from_python_is_called_again_from_python() -> None:
    run = report(plain(), command=("grandopt.optimize", "gate"))
    command = changed_command(run, "gate", {"--samples": "FILE.npz", "--budget": "20", "--profile": None})
    assert command_text(command) == (
        "grandopt.optimize(model, example_input, name='gate', samples='FILE.npz', budget_s=20)"
    )
    assert changed_command(run, "gate", {"--goal": "throughput"}, to="tune") == ()


def test_a_gain_has_a_factor_exactly_where_one_is_known() -> None:
    for wrong in ({"kind": "measured"}, {"kind": "unknown", "factor": 2.0, "of": "latency"}):
        with pytest.raises(ValidationError, match="'factor' and 'of' belong"):
            GainReport(note="", **wrong)
    gain = GainReport(kind="at most", factor=1.25, of="latency", note="if")
    assert gain_text(gain) == "at most: 1.2× as fast, if"
    assert gain_text(GainReport(kind="unknown", note="never tried")) == "unknown: never tried"


def test_the_short_form_has_a_line_for_each_kind() -> None:
    agents = [plain(name=f"a{n}", curves=(curve(1e3, 1e3 * n),)) for n in (2, 3, 4, 5)]
    lines = in_short(with_recommendations(report(*agents, plain(name="b"))))
    assert lines == ["give several observations in one call: 4 agents; measured 2.0× to 5.0× the throughput"]


def test_no_figure_of_a_real_report_is_invented() -> None:
    """Every factor is a ratio of two figures that the report holds."""
    run = load_report(golden(3))
    seen = 0
    for agent in run.agents:
        rates = [point.throughput for line in agent.curves for point in line.points]
        limits = [agent.shipped.figures.limit_factor] if agent.shipped and agent.shipped.figures else []
        known = [*limits, *(after / before for after in rates for before in rates)]
        for item in recommendations(run, agent):
            if item.gain.factor is not None:
                seen += 1
                assert any(item.gain.factor == pytest.approx(value) for value in known if value is not None)
    assert seen >= 2
