"""What a call through an engine costs at least, and what need not be built because of it."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from grandopt.reason import ReasonCode
from grandopt.workflows.building.built import ORIGINAL
from grandopt.workflows.building.pool import BuildPool
from grandopt.workflows.events import Event
from grandopt.workflows.job import Run
from grandopt.workflows.selection import build_stage
from grandopt.workflows.selection.build_stage import BuildStage
from grandopt.workflows.selection.dispatch import least_call_us
from tests.workflows.conftest import MakeRun
from tests.workflows.test_candidate_set import candidate_set, said

QUIET = "grandopt.workflows.selection.dispatch.crowded"


def with_engines(run: Run, *engines: str) -> Run:
    profile = run.job.profile.model_copy(update={"engines": engines, "precisions": ("float32",)})
    return replace(run, job=run.job.model_copy(update={"profile": profile}))


@pytest.mark.slow
def test_it_is_measured_once_for_each_engine(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QUIET, lambda own: False)
    events: list[Event] = []
    with make_run(events) as made:
        run = with_engines(made, "torchscript", "eager")
        least = least_call_us(run, ["torchscript", "eager"], time.monotonic() + 200.0)
        assert set(least) == {"torchscript", "eager"}
        assert all(0.0 < us < 1e6 for us in least.values())
        events.clear()
        assert least_call_us(run, ["torchscript"], 0.0) == {"torchscript": least["torchscript"]}
        assert events == [], "it was in the store"


def test_on_a_crowded_machine_or_without_time_it_is_not_known(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make_run([]) as run:
        for crowded, until in ((True, float("inf")), (False, 0.0)):
            monkeypatch.setattr(QUIET, lambda own, crowded=crowded: crowded)
            assert least_call_us(run, ["torchscript"], until) == {}


@pytest.mark.slow
def test_what_is_not_expected_in_time_is_not_begun_and_waits_for_more(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QUIET, lambda own: False)
    begun: list[str] = []
    monkeypatch.setattr(
        BuildPool, "build", lambda pool, folder, variants, *rest: begun.extend(variants) or []
    )
    with make_run([]) as made:
        run = with_engines(made, "inductor")
        assert least_call_us(run, ["inductor"], time.monotonic() + 10.0) == {}
        assert begun == []
        assert least_call_us(run, ["inductor"], time.monotonic() + 100.0) == {}
        assert begun == [("inductor/float32", 1)]
        assert least_call_us(run, ["inductor"], time.monotonic() + 100.0) == {}
        assert len(begun) == 1, "once in a run"


@pytest.mark.slow
def test_what_is_outpaced_is_not_built_and_says_why(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    def known(run: Run, engines: list[str], until: float) -> dict[str, float]:
        asked.append(tuple(engines))
        return {"torchscript": 40.0}  # eager's is not known

    monkeypatch.setattr(build_stage, "least_call_us", known)
    monkeypatch.setattr(build_stage, "LONG_CALL_US", 1e9)
    events: list[Event] = []
    with make_run(events) as made:
        run = with_engines(made, "native", "torchscript", "eager")
        agent = candidate_set(run)
        BuildStage(run, agent, 60.0).build_all(skip_outpaced=True)
        status = {entry.label: entry for entry in agent.builds()}
        assert asked == [("torchscript", "eager")]
        for label, entry in status.items():
            assert (entry.status == "not measured") == label.startswith("torchscript")
            if entry.reason is not None:
                assert entry.reason.code is ReasonCode.OUTPACED
                assert "a call through torchscript takes at least 40.0 µs on this machine" in str(
                    entry.reason
                )
        again = candidate_set(run)
        events.clear()
        BuildStage(run, again, 60.0).build_all(skip_outpaced=True)
        assert {entry.label: entry.reason for entry in again.builds()} == {
            label: entry.reason for label, entry in status.items()
        }
        assert said(events, "build") == [], "the first look was kept, too"
        everything = candidate_set(run)
        BuildStage(run, everything, 60.0).build_all()
        assert {entry.status for entry in everything.builds()} == {"verified"}
        assert ORIGINAL not in status
