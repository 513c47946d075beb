"""Candidates are built in other processes, verified, and found again."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, cast

import pytest
import torch

from grandopt.compiler.build import Candidate
from grandopt.config.engines import OnnxRuntimeOptions
from grandopt.workflows.building.built import NOT_BUILT, BuiltCandidate
from grandopt.workflows.building.pool import BuildPool
from grandopt.workflows.building.request import BuildResult, Deadline, Variant
from grandopt.workflows.events import Event
from grandopt.workflows.job import Run
from grandopt.workflows.memo.programs import capture_or_load
from grandopt.workflows.selection.candidate_set import CandidateSet
from tests.small_agents import Policy
from tests.workflows.conftest import MakeRun, opened

PLACES = [("torchscript/float32", 1), ("torchscript/float32/no-ofi", 1)]


class OtherPolicy(Policy):
    """Another network, so that nothing of it is in the store."""


class Stubborn(Policy):
    """A network that no other process can be given."""

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("holds a device that cannot be pickled")

    def __deepcopy__(self, memo: dict[int, Any]) -> Stubborn:
        return self


def candidate_set(run: Run, kind: type[torch.nn.Module] = Policy) -> CandidateSet:
    agent = opened(kind)
    return CandidateSet(run, agent, capture_or_load(agent.checkpoint, run.store))


def said(events: list[Event], step: str) -> list[str]:
    return [event.message for event in events if event.step == step]


def for_seconds(seconds: float) -> Deadline:
    end = time.monotonic() + seconds
    return Deadline(end, end)


def built(run: Run, kind: type[torch.nn.Module] = Policy, seconds: float = 60.0) -> CandidateSet:
    made = candidate_set(run, kind)
    made.build(PLACES, for_seconds(seconds))
    return made


@pytest.mark.slow
def test_recorded_samples_reach_the_build_processes_and_the_verdict(make_run: MakeRun) -> None:
    with make_run([]) as run:
        agent = opened(Policy)
        recorded = (torch.randn(300, 8, generator=torch.Generator().manual_seed(1)).numpy(),)
        agent = replace(agent, samples=recorded)
        made = CandidateSet(run, agent, capture_or_load(agent.checkpoint, run.store))
        made.build(PLACES, for_seconds(60.0))
        assert [(entry.status, entry.reason) for entry in made.builds()] == [("verified", None)] * 2


@pytest.mark.slow
def test_a_second_run_builds_and_verifies_nothing(make_run: MakeRun) -> None:
    first: list[Event] = []
    with make_run(first) as run:
        entries = built(run).builds()
        assert [entry.status for entry in entries] == ["verified", "verified"]
        assert all(entry.verification is not None and entry.verification.passed for entry in entries)
        assert len(said(first, "build")) == 2
    again: list[Event] = []
    with make_run(again) as run:
        second = built(run).builds()
        assert said(again, "build") == []
        assert {entry.label: entry for entry in second} == {entry.label: entry for entry in entries}
        again_verified = candidate_set(run).verify_again(second[0])
        assert again_verified.verification == second[0].verification


@pytest.mark.slow
def test_a_damaged_entry_is_built_again(make_run: MakeRun) -> None:
    events: list[Event] = []
    with make_run(events) as run:
        artifact = built(run).builds()[0].artifact
        assert artifact is not None
        artifact.payload_path("program.pt").write_bytes(b"?")
        events.clear()
        entry = built(run).build_one("torchscript/float32")
        assert entry.status == "verified"
        assert len(said(events, "build")) == 1
        assert entry.artifact is not None
        entry.artifact.payloads()


def test_without_time_nothing_is_built_and_the_row_says_why(make_run: MakeRun) -> None:
    with make_run([]) as run:
        entries = built(run, seconds=-1.0).builds()
        assert {(entry.status, entry.reason) for entry in entries} == {("not measured", NOT_BUILT)}


def test_what_no_time_suffices_for_says_why(make_run: MakeRun) -> None:
    class Branching(Policy):
        def forward(self, state: torch.Tensor) -> torch.Tensor:
            return super().forward(state if state.sum() > 0 else -state)

    with make_run([]) as run:
        profile = run.job.profile.model_copy(update={"engines": ("native",)})
        made = candidate_set(replace(run, job=run.job.model_copy(update={"profile": profile})), Branching)
        made.build([(next(iter(made.candidates)), 1)], for_seconds(-1.0))
        (entry,) = made.builds()
        assert entry.status == "failed"
        assert "not exported: the network's control flow depends on the data" in str(entry.reason)


def test_what_cannot_be_handed_over_is_built_here(make_run: MakeRun) -> None:
    events: list[Event] = []
    with make_run(events) as run:
        entries = built(run, Stubborn).builds()
        assert [entry.status for entry in entries] == ["verified", "verified"]
        assert any("cannot be handed to a build process" in line for line in said(events, "build"))
        assert not [event for event in events if "of 2 done" in event.message], "no build process was asked"


@pytest.mark.slow
def test_a_run_goes_on_with_what_the_one_before_had_no_time_for(make_run: MakeRun) -> None:
    with make_run([]) as run:
        first = built(run)
        assert first.continued == 0, "nothing ran before it"
    with make_run([]) as run:
        made = candidate_set(run, OtherPolicy)
        made.build(PLACES, for_seconds(-1.0))
        assert {entry.status for entry in made.builds()} == {"not measured"}
    with make_run([]) as run:
        made = candidate_set(run, OtherPolicy)
        made.build(PLACES, for_seconds(60.0))
        assert {entry.status for entry in made.builds()} == {"verified"}
        assert made.continued == 2
    with make_run([]) as run:
        made = candidate_set(run, OtherPolicy)
        made.build(PLACES, for_seconds(60.0))
        assert {entry.status for entry in made.builds()} == {"verified"}
        assert made.continued == 0, "all was there"


class Late:
    """Build processes that were given so many seconds for each build, and did not finish any."""

    count = 2

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.asked: list[Variant] = []

    def build(self, folder: Path, variants: Sequence[Variant], *rest: object) -> list[BuildResult]:
        self.asked += variants
        return [BuildResult(variant, "not measured", NOT_BUILT, self.seconds) for variant in variants]


@pytest.mark.parametrize("busy", [False, True])
def test_what_had_its_time_is_tried_again_with_more_or_where_others_took_it(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, busy: bool
) -> None:
    monkeypatch.setattr("grandopt.workflows.memo.earlier_runs.crowded", lambda own: busy)

    def asked(had: float, now: float) -> tuple[list[Variant], CandidateSet]:
        with make_run([]) as run:
            late = Late(had)
            made = candidate_set(replace(run, builders=cast("BuildPool", late)))
            made.build_one("torchscript/float32")  # something usable is there
            made.build(PLACES[1:], for_seconds(now))
            return late.asked, made

    assert asked(had=40.0, now=40.0)[0] == PLACES[1:]
    again, made = asked(had=40.0, now=40.0)
    assert again == (PLACES[1:] if busy else [])
    entry = made.builds()[-1]
    assert entry.status == "not measured"
    assert ("--no-resume tries again" in str(entry.reason)) != busy
    assert asked(had=80.0, now=80.0)[0] == PLACES[1:]


@pytest.mark.slow
def test_a_build_that_fails_is_not_tried_again(make_run: MakeRun) -> None:
    pytest.importorskip("onnxruntime")
    static = Candidate("int8_static", OnnxRuntimeOptions(quantization="static"))  # needs recorded samples

    def tried(run: Run) -> BuiltCandidate:
        made = candidate_set(run)
        made.candidates[static.label] = static
        made.build([(static.label, 1)], for_seconds(60.0))
        return made.builds()[0]

    with make_run([]) as run:
        first = tried(run)
    again: list[Event] = []
    with make_run(again) as run:
        second = tried(run)
        assert said(again, "build") == []
        anew = tried(replace(run, job=run.job.model_copy(update={"resume": False})))
        assert len(said(again, "build")) == 1
    assert [entry.status for entry in (first, second, anew)] == ["failed"] * 3
    assert anew.reason == first.reason
    told = re.escape(str(first.reason)) + r" \(kept from \d{4}-\d\d-\d\d; --no-resume tries again\)"
    assert re.fullmatch(told, str(second.reason))
