"""What wins must also start and answer; what does not is dropped, and the next best is taken."""

from __future__ import annotations

import pytest

from grandopt.tuning.objective import TrialFigures
from grandopt.tuning.result import State, Trial, TuningResult
from grandopt.tuning.space import Choice
from grandopt.workflows.events import Event
from grandopt.workflows.job import Run
from grandopt.workflows.memo.programs import capture_or_load
from grandopt.workflows.selection.candidate_set import CandidateSet
from grandopt.workflows.selection.final_decision import final, finalists
from grandopt.workflows.selection.rows import candidate_rows
from tests.workflows.conftest import MakeRun, opened
from tests.workflows.test_candidate_set import PLACES, for_seconds, said

TUNED, PLAIN = (label for label, _ in PLACES)
LOADER = "tests.workflows.odd_loader:load"


def trial(number: int, label: str, us: float, state: State = "complete", doubt: float = 0.0) -> Trial:
    figures = TrialFigures(us, None, 1e6 / us, 1.0, doubt)
    return Trial(number, Choice(label, 1, 1), state, us, figures, None, 1.0)


def searched(*trials: Trial) -> TuningResult:
    best = min((item for item in trials if item.state == "complete"), key=lambda item: item.score or 0.0)
    return TuningResult(trials, best, "latency", "exhausted")


def made(run: Run) -> CandidateSet:
    agent = opened()
    candidate_set = CandidateSet(run, agent, capture_or_load(agent.checkpoint, run.store))
    candidate_set.build(PLACES, for_seconds(60.0))
    return candidate_set


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("cold tuned", f"starting {TUNED}: the worker process ended with exit code 3"),
        ("always tuned", f"measuring original, {TUNED}: the worker process ended with exit code 3"),
    ],
)
def test_a_winner_that_breaks_down_is_dropped(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, fault: str, message: str
) -> None:
    monkeypatch.setenv("ODD_LOADER", fault)
    events: list[Event] = []
    with make_run(events) as run:
        run.pool.loader = LOADER
        candidate_set = made(run)
        # The other one lost the first look by far: it is the next best all the same.
        found = searched(trial(0, TUNED, 10.0), trial(1, PLAIN, 30.0, "pruned"))
        outcome = final(run, candidate_set, found)
        assert outcome.kept is not None
        assert outcome.kept.label == PLAIN
        assert outcome.decision.winner is not None
        rows = {
            row.label: row
            for row in candidate_rows(candidate_set, found, outcome.measurement, outcome.decision)
        }
    assert rows[PLAIN].status == "chosen"
    assert rows[TUNED].status == "failed"
    assert str(rows[TUNED].reason).startswith(message)
    assert "the engine broke down" in str(rows[TUNED].reason)
    assert any(message in line for line in said(events, "verify"))


@pytest.mark.slow
def test_an_agent_for_which_nothing_was_built_says_so(make_run: MakeRun) -> None:
    with make_run([]) as run:
        agent = opened()
        candidate_set = CandidateSet(run, agent, capture_or_load(agent.checkpoint, run.store))
        candidate_set.build(PLACES, for_seconds(-1.0))
        outcome = final(run, candidate_set, TuningResult((), None, "latency", "exhausted"))
        assert outcome.decision.winner is None
        assert str(outcome.decision.reason).startswith("nothing was built within the time budget of 60 s")


@pytest.mark.slow
def test_what_may_be_as_fast_as_the_leader_is_a_finalist(make_run: MakeRun) -> None:
    with make_run([]) as run:
        candidate_set = made(run)
        near = searched(trial(0, TUNED, 10.0), trial(1, PLAIN, 11.0))
        assert [built.label for built in finalists(candidate_set, near)] == [TUNED, PLAIN]
        behind = searched(trial(0, TUNED, 10.0), trial(1, PLAIN, 15.0))
        assert [built.label for built in finalists(candidate_set, behind)] == [TUNED]
        disturbed = searched(trial(0, TUNED, 10.0), trial(1, PLAIN, 15.0, doubt=0.4))
        assert [built.label for built in finalists(candidate_set, disturbed)] == [TUNED, PLAIN]
