"""Building all candidates of an agent: what comes first, and what is remembered of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from grandopt.workflows.memo.build_history import BuildHistory, BuildKind
from grandopt.workflows.selection.build_stage import BuildStage
from tests.workflows.conftest import MakeRun
from tests.workflows.test_candidate_set import candidate_set
from tests.workflows.test_dispatch import with_engines

CROWDED = "grandopt.workflows.selection.build_stage.crowded"
KIND = BuildKind("torchscript", "float32", "small")


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
