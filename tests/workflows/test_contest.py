"""Candidates are built in other processes, verified, and found again."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import Any, NoReturn

import pytest
import torch

from grandopt.compiler.build import Candidate
from grandopt.config.schema import OnnxRuntimeOptions
from grandopt.workflows.builders import Patience
from grandopt.workflows.capture import captured
from grandopt.workflows.contest import Contest
from grandopt.workflows.entry import Entry
from grandopt.workflows.events import Event
from grandopt.workflows.run import Run
from tests.small_agents import Policy
from tests.workflows.conftest import MakeRun, opened

PLACES = [("torchscript/float32", 1), ("torchscript/float32/no-ofi", 1)]


class Stubborn(Policy):
    """A network that no other process can be given."""

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("holds a device that cannot be pickled")

    def __deepcopy__(self, memo: dict[int, Any]) -> Stubborn:
        return self


def contest(run: Run, kind: type[torch.nn.Module] = Policy) -> Contest:
    agent = opened(kind)
    return Contest(run, agent, captured(agent.checkpoint, run.store))


def said(events: list[Event], step: str) -> list[str]:
    return [event.message for event in events if event.step == step]


def for_seconds(seconds: float) -> Patience:
    end = time.monotonic() + seconds
    return Patience(end, end)


def built(run: Run, kind: type[torch.nn.Module] = Policy, seconds: float = 60.0) -> Contest:
    made = contest(run, kind)
    made.build(PLACES, for_seconds(seconds))
    return made


def test_recorded_samples_reach_the_build_processes_and_the_verdict(make_run: MakeRun) -> None:
    with make_run([]) as run:
        agent = opened(Policy)
        recorded = (torch.randn(300, 8, generator=torch.Generator().manual_seed(1)).numpy(),)
        agent = replace(agent, samples=recorded)
        made = Contest(run, agent, captured(agent.checkpoint, run.store))
        made.build(PLACES, for_seconds(60.0))
        assert [(entry.status, entry.reason) for entry in made.entries()] == [("verified", None)] * 2


def test_a_second_run_builds_and_verifies_nothing(make_run: MakeRun) -> None:
    first: list[Event] = []
    with make_run(first) as run:
        entries = built(run).entries()
        assert [entry.status for entry in entries] == ["verified", "verified"]
        assert all(entry.verification is not None and entry.verification.passed for entry in entries)
        assert len(said(first, "build")) == 2
    again: list[Event] = []
    with make_run(again) as run:
        second = built(run).entries()
        assert said(again, "build") == []
        assert {entry.label: entry for entry in second} == {entry.label: entry for entry in entries}
        again_verified = contest(run).verified_again(second[0])
        assert again_verified.verification == second[0].verification


def test_a_damaged_entry_is_built_again(make_run: MakeRun) -> None:
    events: list[Event] = []
    with make_run(events) as run:
        artifact = built(run).entries()[0].artifact
        assert artifact is not None
        artifact.payload_path("program.pt").write_bytes(b"?")
        events.clear()
        entry = built(run).entry("torchscript/float32")
        assert entry.status == "verified"
        assert len(said(events, "build")) == 1
        assert entry.artifact is not None
        entry.artifact.payloads()


def test_without_time_nothing_is_built_and_the_row_says_why(make_run: MakeRun) -> None:
    with make_run([]) as run:
        entries = built(run, seconds=-1.0).entries()
        assert {(entry.status, entry.reason) for entry in entries} == {
            ("not measured", "the time budget was used up")
        }


def test_what_cannot_be_handed_over_is_built_here(make_run: MakeRun) -> None:
    events: list[Event] = []
    with make_run(events) as run:
        entries = built(run, Stubborn).entries()
        assert [entry.status for entry in entries] == ["verified", "verified"]
        assert any("cannot be handed to a build process" in line for line in said(events, "build"))
        assert not [event for event in events if "of 2 done" in event.message], "no build process was asked"


@pytest.mark.parametrize("busy", [False, True])
def test_what_could_not_be_built_in_time_is_waited_for_again_where_nothing_else_was_or_others_worked(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, busy: bool
) -> None:
    monkeypatch.setattr("grandopt.workflows.contest.crowded", lambda own: busy)
    with make_run([]) as run:
        late = contest(run)
        late.build(PLACES, for_seconds(-1.0))
        assert {entry.status for entry in late.entries()} == {"not measured"}
    with make_run([]) as run:
        alone = contest(run)
        alone.build(PLACES[:1], for_seconds(60.0))
        assert [entry.status for entry in alone.entries()] == ["verified"]
    again: list[Event] = []
    with make_run(again) as run:
        second = contest(run)
        second.build(PLACES, for_seconds(60.0))
        first, other = second.entries()
        assert first.status == "verified"
        if busy:
            assert other.status == "verified"
        else:
            assert said(again, "build") == []
            assert other.status == "not measured"
            assert "--no-resume tries again" in str(other.reason)


def test_a_build_that_fails_is_not_tried_again(make_run: MakeRun) -> None:
    pytest.importorskip("onnxruntime")
    static = Candidate("int8_static", OnnxRuntimeOptions(quantization="static"))  # needs recorded samples

    def tried(run: Run) -> Entry:
        made = contest(run)
        made.candidates[static.label] = static
        made.build([(static.label, 1)], for_seconds(60.0))
        return made.entries()[0]

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
