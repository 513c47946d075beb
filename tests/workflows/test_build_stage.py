"""Building all candidates of an agent: what comes first, and what is remembered of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from grandopt.config.engine import Precision
from grandopt.measurement.limit import AgentLimit
from grandopt.reason import ReasonCode
from grandopt.workflows.building.built import NOT_BUILT
from grandopt.workflows.building.request import BuildResult, Deadline, Variant
from grandopt.workflows.job import Run
from grandopt.workflows.memo.build_history import BuildHistory, BuildKind
from grandopt.workflows.selection import build_stage
from grandopt.workflows.selection.build_stage import BuildStage
from tests.workflows.conftest import MakeRun
from tests.workflows.fakes import built
from tests.workflows.test_candidate_set import candidate_set
from tests.workflows.test_dispatch import with_engines

CROWDED = "grandopt.workflows.selection.build_stage.crowded"
KIND = BuildKind("torchscript", "float32", "small")
TORCHSCRIPT = ("torchscript/float32", "torchscript/float32/no-ofi")

Asked = tuple[list[str], float, float]
"""The candidates that were to be built, the seconds until that stops, and those given in all."""


@pytest.mark.slow
@pytest.mark.parametrize("busy", [False, True])
def test_what_was_built_is_remembered_unless_others_delayed_it(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, busy: bool
) -> None:
    monkeypatch.setattr(CROWDED, lambda own: busy)
    for _ in range(2):  # the second run builds nothing, and has nothing to remember
        with make_run([]) as run:
            made = candidate_set(run)
            stage = BuildStage(run, made, 200.0)
            stage.build_all()
            winner = made.builds()[0]
            assert winner.status == "verified"
            stage.remember(winner)
            seen = BuildHistory(run.store).seen(KIND)
            assert (seen.builds, seen.won) == ((0, 0) if busy else (2, 1))
            assert (seen.seconds > 0) != busy


@pytest.mark.slow
def test_without_time_the_first_native_candidate_is_built_and_nothing_else(make_run: MakeRun) -> None:
    with make_run([]) as made:
        run = with_engines(made, "eager", "torchscript", "native")
        profile = run.job.profile.model_copy(update={"budget_s": 0.01})
        run = replace(run, job=run.job.model_copy(update={"profile": profile}))
        agent = candidate_set(run)
        BuildStage(run, agent, -5.0).build_all(skip_outpaced=True)
        status = {entry.label: entry.status for entry in agent.builds()}
        assert status.pop("native/float32") == "verified"
        assert set(status) == set(agent.candidates) - {"native/float32"}
        assert set(status.values()) == {"not measured"}


def stage_without_work(run: Run, budget_s: float, **given: Any) -> tuple[BuildStage, list[Asked]]:
    """A stage of a run with these engines, whose builds are noted instead of made."""
    agent = candidate_set(run)
    asked: list[Asked] = []

    def build(variants: Sequence[Variant], deadline: Deadline, expected: object) -> list[BuildResult]:
        now = time.monotonic()
        asked.append(([label for label, _ in variants], deadline.enough - now, deadline.given_s))
        return []

    agent.build = build  # type: ignore[method-assign, assignment]
    return BuildStage(run, agent, budget_s, **given), asked


def test_what_leads_has_more_time_and_comes_alone(make_run: MakeRun) -> None:
    with make_run([]) as made:
        run = with_engines(made, "torchscript", "native")
        stage, asked = stage_without_work(run, 20.0, leading_s=50.0)
        stage.build_all(skip_outpaced=True)
        (leading, leading_s, _), (rest, rest_s, _) = asked
        assert leading == ["native/float32"]
        assert {"native/float32/256-bit", *TORCHSCRIPT} == set(rest)
        assert leading_s == pytest.approx(50.0, abs=5.0)
        assert rest_s == pytest.approx(20.0, abs=5.0)
        stage, asked = stage_without_work(run, 20.0)
        stage.build_all()
        ((everything, seconds, _),) = asked
        assert set(everything) == {*leading, *rest}
        assert everything[0] == "native/float32", "it is finished whatever the time"
        assert seconds == pytest.approx(20.0, abs=5.0)


@pytest.mark.parametrize(
    ("had_s", "expected_s", "noted_s"),
    [(0.0, 200.0, 200.0), (200.0, 15.0, 215.0), (150.0, 50.0, 200.0)],
)
def test_what_is_left_gets_the_time_that_no_earlier_run_had(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, had_s: float, expected_s: float, noted_s: float
) -> None:
    monkeypatch.setattr("grandopt.workflows.memo.earlier_runs.crowded", lambda own: False)
    with make_run([]) as run:  # 60 s for each agent, of which building gets 15 at least
        stage, asked = stage_without_work(run, 200.0)
        late = [BuildResult((label, 1), "not measured", NOT_BUILT, 0.0) for label in TORCHSCRIPT]
        for result in late:
            stage._set.earlier.keep(result, had_s)
        stage.build_all()
        ((_, seconds, given_s),) = asked
        assert seconds == pytest.approx(expected_s, abs=5.0)
        assert given_s == pytest.approx(noted_s, abs=5.0)


def test_what_an_earlier_run_had_no_candidate_of_gets_all_the_time(make_run: MakeRun) -> None:
    with make_run([]) as run:
        stage, asked = stage_without_work(run, 200.0)
        first = BuildResult((TORCHSCRIPT[0], 1), "not measured", NOT_BUILT, 0.0)
        stage._set.earlier.keep(first, 200.0)
        stage.build_all()
        assert asked[0][1] == pytest.approx(200.0, abs=5.0)


def test_what_the_engine_and_the_limit_together_outpace_is_not_built(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def limits(precision: Precision, threads: int) -> AgentLimit:
        return AgentLimit(2.0, "arithmetic", precision, "v", None, 1.0, threads, "kernels")

    monkeypatch.setattr(build_stage, "first_look", lambda *given: {"native/float32": 3.0})
    monkeypatch.setattr(build_stage, "least_call_us", lambda *given: {"torchscript": 1.5, "eager": 0.5})
    with make_run([]) as made:
        run = with_engines(made, "torchscript", "native", "eager")
        stage, asked = stage_without_work(run, 20.0, limits=limits)
        leader = built(stage._set.candidates["native/float32"])
        monkeypatch.setattr(stage._set, "builds", lambda: [leader])
        stage.build_all(skip_outpaced=True)
        assert [variants for variants, _, _ in asked] == [
            ["native/float32"],
            ["native/float32/256-bit"],
            ["eager/float32"],
        ]
        for label in TORCHSCRIPT:
            reason = stage._set.build_one(label).reason
            assert reason is not None
            assert reason.code is ReasonCode.OUTPACED
