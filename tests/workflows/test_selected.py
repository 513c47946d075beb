"""What another machine told is measured without a search; where nothing of it works here, all is tried."""

from __future__ import annotations

from pathlib import Path

import pytest

from grandopt.workflows.building.built import build_and_verify
from grandopt.workflows.events import Event
from grandopt.workflows.job import STATE, Run, Stages
from grandopt.workflows.selection import short_list
from grandopt.workflows.selection.candidate_set import CandidateSet
from grandopt.workflows.selection.rows import candidate_rows
from grandopt.workflows.selection.selected import Selected, select
from grandopt.workflows.selection.short_list import is_short
from tests.workflows.fakes import EAGER, MACHINE, PLAIN, SCRIPT, WORK, built
from tests.workflows.test_candidate_set import candidate_set, said
from tests.workflows.test_final_decision import LOADER
from tests.workflows.test_short_list import NATIVE, first_machine, machine


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(short_list, "crowded", lambda own: False)


def selected(run: Run, made: CandidateSet) -> tuple[Selected, list[str]]:
    """What is selected, and the steps that it took."""
    stages = Stages()
    return select(run, made, WORK, MACHINE, stages), list(stages.seconds)


@pytest.mark.slow
def test_a_short_list_goes_into_the_final_measurement_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_machine(tmp_path)
    events: list[Event] = []
    with machine(tmp_path, "second", events) as run:
        made = candidate_set(run)
        verified: list[str] = []

        def noted(agent: object, candidate: object, *rest: object) -> object:
            verified.append(candidate.label)  # type: ignore[attr-defined]
            return build_and_verify(agent, candidate, *rest)  # type: ignore[arg-type]

        monkeypatch.setattr("grandopt.workflows.selection.candidate_set.build_and_verify", noted)
        found, steps = selected(run, made)
        assert steps == ["build", "measure"]
        assert found.told
        assert found.found.trials == ()
        outcome = found.outcome
        assert [subject.label for subject in outcome.measurement.subjects] == ["original", NATIVE[0]]
        assert outcome.measurement.settings.processes >= 3
        assert outcome.kept.label == NATIVE[0]
        assert outcome.kept.verification is not None
        assert verified == [NATIVE[0]], "in this run, and once"
        assert found.best_two(made) == [outcome.kept]
        rows = {
            row.label: row for row in candidate_rows(made, found.found, outcome.measurement, outcome.decision)
        }
        assert rows[NATIVE[0]].status == "chosen"
        assert rows["torchscript/float32"].figures is None
    assert said(events, "start")[-1].startswith("not measured of the original")
    assert not said(events, "first round")


@pytest.mark.slow
def test_where_what_was_fast_there_breaks_down_here_everything_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_machine(tmp_path)
    monkeypatch.setenv("ODD_LOADER", "always native")
    events: list[Event] = []
    with machine(tmp_path, "second", events) as run:
        (tmp_path / "second" / STATE).mkdir(parents=True)
        run.pool.loader = LOADER
        made = candidate_set(run)
        found, steps = selected(run, made)
        assert steps == ["build", "measure", "search"]
        assert not found.told
        assert found.outcome.kept.label != NATIVE[0]
        asked = run.builders.asked  # type: ignore[attr-defined]
        assert "torchscript/float32" in asked, "of which the other machine said that it was slow"


def test_a_list_is_short_that_can_be_measured_side_by_side() -> None:
    assert is_short([built(EAGER)])
    assert is_short([built(EAGER), built(SCRIPT), built(PLAIN)])
    assert not is_short([])
    assert not is_short([built(EAGER), built(SCRIPT), built(PLAIN), built(EAGER, threads=2)])
    assert not is_short([built(EAGER), built(SCRIPT, threads=2)])
