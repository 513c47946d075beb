"""Whatever becomes of a candidate, an agent or a comparison: where it is not well, it has a code."""

from __future__ import annotations

import itertools
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grandopt.compiler.build import Candidate
from grandopt.config.profiles import PROFILES
from grandopt.config.schema import AgentConfig
from grandopt.errors import BuildError, CheckpointError, MeasurementError
from grandopt.measurement.compare.comparison import Compared
from grandopt.measurement.compare.sequential import PairedEvidence, judge
from grandopt.measurement.result import Measurement
from grandopt.reason import Reason, ReasonCode
from grandopt.reporting.report import AgentReport, CandidateStatus
from grandopt.tuning.objective import TrialFigures
from grandopt.tuning.result import State, Stop, Trial, TuningResult
from grandopt.tuning.space import Choice
from grandopt.workflows import records
from grandopt.workflows.benchmark.ranking import Ranking, candidate
from grandopt.workflows.building.built import BuiltCandidate
from grandopt.workflows.building.request import BuildStatus
from grandopt.workflows.gate.artifacts import _noisy
from grandopt.workflows.job import Run
from grandopt.workflows.selection.candidate_set import CandidateSet
from grandopt.workflows.selection.final_decision import Decision, _why_none, decide
from grandopt.workflows.selection.rows import candidate_rows
from tests.reasons.uncoded import uncoded
from tests.reporting.samples import failed, kept, optimized, report
from tests.workflows.fakes import EAGER, MACHINE, PLAIN, SCRIPT, WORK, built, measurement

ALL = (EAGER, PLAIN, SCRIPT)
STATUSES: tuple[BuildStatus, ...] = get_args(BuildStatus)
STATES: tuple[State, ...] = get_args(State)
STOPS: tuple[Stop, ...] = get_args(Stop)
MICROSECONDS = {"eager/float32": 80.0, "torchscript/float32/no-ofi": 60.0, "torchscript/float32": 50.0}
BASIC = PROFILES["basic"]


class Entered:
    """A candidate set in which these were built."""

    def __init__(self, builds: list[BuiltCandidate]) -> None:
        self.candidates = {item.label: item for item in ALL}
        self._builds = builds

    def builds(self) -> list[BuiltCandidate]:
        return list(self._builds)

    def subject(self, entry: BuiltCandidate) -> SimpleNamespace:
        return SimpleNamespace(label=entry.label)


def entered(builds: list[BuiltCandidate]) -> CandidateSet:
    return cast("CandidateSet", Entered(builds))


@lru_cache
def measured(labels: tuple[str, ...], original: float = 100.0) -> Measurement:
    times = {label.replace("/", "__"): MICROSECONDS[label] for label in labels}
    return measurement(original=original, **times)


def trial(number: int, item: Candidate, state: State, code: ReasonCode) -> Trial:
    choice, reason = Choice(item.label, 1, 1), Reason(code, "it says")
    if state == "infeasible":
        return Trial(number, choice, state, None, None, reason, 1.0)
    figures = TrialFigures(50.0 + number, None, 1e4, 1.0)
    return Trial(number, choice, state, 50.0 + number, figures, None, 1.0)


@given(
    statuses=st.tuples(*[st.sampled_from([*STATUSES, None])] * len(ALL)),
    states=st.tuples(*[st.sampled_from([*STATES, None])] * len(ALL)),
    finalists=st.sets(st.sampled_from(ALL), max_size=2),
    code=st.sampled_from(ReasonCode),
    stopped=st.sampled_from(STOPS),
    original=st.sampled_from([10.0, 100.0]),
    searched_alone=st.booleans(),
)
def test_every_row_of_a_run_and_of_a_search(
    statuses: tuple[BuildStatus | None, ...],
    states: tuple[State | None, ...],
    finalists: set[Candidate],
    code: ReasonCode,
    stopped: Stop,
    original: float,
    searched_alone: bool,
) -> None:
    builds = [built(item, status) for item, status in zip(ALL, statuses, strict=True) if status is not None]
    trials = [
        trial(number, item, state, code)
        for number, (item, state) in enumerate(zip(ALL, states, strict=True))
        if state is not None
    ]
    complete = [item for item in trials if item.state == "complete"]
    best = min(complete, key=lambda item: item.score or 0.0, default=None)
    last = [entry for entry in builds if entry.status == "verified" and entry.candidate in finalists]
    figures = measured(tuple(sorted(entry.label for entry in last)), original)
    decision = Decision(None, None, None) if searched_alone else decide(figures, last)
    found = TuningResult(tuple(trials), best, "latency", stopped)
    rows = candidate_rows(entered(builds), found, figures, decision)
    agent = AgentReport(name="agent", status="measured", candidates=rows)
    assert len(rows) == len(ALL)
    assert uncoded(report(agent)) == []
    assert {row.status for row in rows} <= set(get_args(CandidateStatus))
    assert searched_alone or (decision.winner is None) == (decision.reason is not None)


@given(
    statuses=st.tuples(*[st.sampled_from(STATUSES)] * len(ALL)),
    broken=st.sets(st.sampled_from(ALL), max_size=2),
)
def test_every_row_of_a_benchmark(statuses: tuple[BuildStatus, ...], broken: set[Candidate]) -> None:
    builds = [built(item, status) for item, status in zip(ALL, statuses, strict=True)]
    left = [e.label for e in builds if e.status == "verified" and e.candidate not in broken]
    why = {e.label: Reason.of(MeasurementError("no")) for e in builds if e.status == "verified"}
    ranking = Ranking(
        tuple(candidate(entered(builds), entry) for entry in builds),
        {1: measured(tuple(sorted(left)))},
        {label: reason for label, reason in why.items() if label not in left},
        MACHINE,
        WORK,
    )
    rows = ranking.rows()
    assert len(rows) == len(ALL)
    assert uncoded(report(AgentReport(name="agent", status="measured", candidates=rows))) == []


@pytest.mark.parametrize("statuses", list(itertools.product(STATUSES[1:], repeat=2)))
def test_why_there_was_nothing_to_measure(statuses: tuple[BuildStatus, ...]) -> None:
    run = cast("Run", SimpleNamespace(job=SimpleNamespace(profile=BASIC)))
    builds = [built(item, status) for item, status in zip(ALL, statuses, strict=False)]
    late = "not measured" in statuses
    wanted = {
        ("not measured", "not measured"): ReasonCode.NOT_BUILT_IN_TIME,
        ("failed", "failed"): ReasonCode.NOTHING_BUILT,
        ("failed", "not measured"): ReasonCode.NOTHING_BUILT,
    }
    reason = _why_none(run, entered(builds))
    assert reason.code is wanted.get(cast("Any", tuple(sorted(statuses))), ReasonCode.NONE_USABLE)
    assert (reason.remedy == "--budget SECONDS") is late
    assert _why_none(run, entered([])).code is ReasonCode.NONE_USABLE


def test_agents_that_were_not_done() -> None:
    config = AgentConfig(checkpoint=Path("agent"))
    left = [
        records.failed("a", CheckpointError("no such file"), bad_input=True, config=config, profile=BASIC),
        records.failed("b", BuildError("no"), bad_input=False, config=config, profile=BASIC),
        records.not_run("c", config=config, profile=BASIC),
    ]
    assert uncoded(report(*left)) == []
    assert [agent.reason_code for agent in left] == ["bad_input", "build_failed", "stopped"]


def test_the_sample_reports_are_like_real_ones() -> None:
    assert uncoded(report(optimized(), kept(), failed())) == []


@given(
    change=st.lists(st.floats(-0.2, 0.2), min_size=4, max_size=4),
    noise=st.lists(st.floats(-0.2, 0.2), min_size=4, max_size=4),
)
def test_every_comparison_of_the_gate(change: list[float], noise: list[float]) -> None:
    evidence = PairedEvidence(tuple(change), tuple(noise))
    judged = Compared(10.0, 10.0, evidence, judge(evidence, 0.05, 16))
    for compared in (judged, Compared(None, None, reason="this system does not tell")):
        row = _noisy("p50", 0.05, compared, seed=0)
        assert (row.outcome == "inconclusive") == (row.reason_code is not None)


def test_a_build_that_is_not_verified_needs_its_reason() -> None:
    with pytest.raises(ValueError, match="is 'failed', and its reason is None"):
        BuiltCandidate(EAGER, 1, "failed")
    with pytest.raises(ValueError, match="is 'verified', and its reason is Reason"):
        BuiltCandidate(EAGER, 1, "verified", Reason(ReasonCode.CRASHED, "it crashed"))
