"""What wins must also start and answer; what does not is dropped, and the next best is taken."""

from __future__ import annotations

import pytest

from grandopt.tuning.objective import Figures
from grandopt.tuning.result import State, Trial, TuningResult
from grandopt.tuning.space import Choice
from grandopt.workflows.capture import captured
from grandopt.workflows.contest import Contest
from grandopt.workflows.events import Event
from grandopt.workflows.final import final, finalists
from grandopt.workflows.rows import candidate_rows
from grandopt.workflows.run import Run
from tests.workflows.conftest import MakeRun, opened
from tests.workflows.test_contest import PLACES, for_seconds, said

TUNED, PLAIN = (label for label, _ in PLACES)
LOADER = "tests.workflows.odd_loader:load"


def trial(number: int, label: str, us: float, state: State = "complete", doubt: float = 0.0) -> Trial:
    figures = Figures(us, None, 1e6 / us, 1.0, doubt)
    return Trial(number, Choice(label, 1, 1), state, us, figures, None, 1.0)


def searched(*trials: Trial) -> TuningResult:
    best = min((item for item in trials if item.state == "complete"), key=lambda item: item.score or 0.0)
    return TuningResult(trials, best, "latency", "exhausted")


def made(run: Run) -> Contest:
    agent = opened()
    contest = Contest(run, agent, captured(agent.checkpoint, run.store))
    contest.build(PLACES, for_seconds(60.0))
    return contest


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
        contest = made(run)
        # The other one lost the first look by far: it is the next best all the same.
        found = searched(trial(0, TUNED, 10.0), trial(1, PLAIN, 30.0, "pruned"))
        outcome = final(run, contest, found)
        assert outcome.kept is not None
        assert outcome.kept.label == PLAIN
        assert outcome.decision.winner is not None
        rows = {
            row.label: row for row in candidate_rows(contest, found, outcome.measurement, outcome.decision)
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
        contest = Contest(run, agent, captured(agent.checkpoint, run.store))
        contest.build(PLACES, for_seconds(-1.0))
        outcome = final(run, contest, TuningResult((), None, "latency", "exhausted"))
        assert outcome.decision.winner is None
        assert str(outcome.decision.reason).startswith("nothing was built within the time budget of 60 s")


def test_what_may_be_as_fast_as_the_leader_is_a_finalist(make_run: MakeRun) -> None:
    with make_run([]) as run:
        contest = made(run)
        near = searched(trial(0, TUNED, 10.0), trial(1, PLAIN, 11.0))
        assert [entry.label for entry in finalists(contest, near)] == [TUNED, PLAIN]
        behind = searched(trial(0, TUNED, 10.0), trial(1, PLAIN, 15.0))
        assert [entry.label for entry in finalists(contest, behind)] == [TUNED]
        disturbed = searched(trial(0, TUNED, 10.0), trial(1, PLAIN, 15.0, doubt=0.4))
        assert [entry.label for entry in finalists(contest, disturbed)] == [TUNED, PLAIN]
