"""Studies in real SQLite files, with real processes."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from grandopt.errors import StorageError, TuningError
from grandopt.reason import Reason, ReasonCode
from grandopt.tuning.objective import TrialFigures
from grandopt.tuning.result import Infeasible, Prune, Trial, TuningResult
from grandopt.tuning.space import Choice, ChoiceSpace
from grandopt.tuning.study import finished, run
from tests.tuning.worker import SPACE as SHARED

LATENCY = {"a": 10.0, "b": 3.0, "c": 50.0}
SPACE = ChoiceSpace(("a", "b", "c"), (1, 2))
WRONG = Reason(ReasonCode.ERROR_TOO_LARGE, "weights differ by 1e-3")
ROOT = Path(__file__).resolve().parents[2]


def figures(choice: Choice) -> TrialFigures:
    latency = LATENCY[choice.candidate] * (1 + 0.1 * choice.threads)
    return TrialFigures(latency, latency * 2, 1e6 / latency, 5.0 * choice.threads)


class Evaluation:
    """Answers from a table, and remembers what it was asked."""

    def __init__(self, refused: str = "", stop_after: int | None = None) -> None:
        self.asked: list[Choice] = []
        self.pruned: list[Choice] = []
        self._refused = refused
        self._stop_after = stop_after

    def __call__(self, choice: Choice, prune: Prune) -> TrialFigures:
        if self._stop_after is not None and len(self.asked) == self._stop_after:
            raise KeyboardInterrupt
        self.asked.append(choice)
        if choice.candidate == self._refused:
            raise Infeasible(WRONG)
        if prune(figures(choice).latency_us):
            self.pruned.append(choice)
        return figures(choice)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'study.db'}"


def tune(url: str, evaluate: Callable[..., TrialFigures], **changes: Any) -> TuningResult:
    settings: dict[str, Any] = {"goal": "latency", "trials": 50, "budget_s": 60.0, "seed": 0}
    space = changes.pop("space", SPACE)
    settings |= {"storage_url": url, "study_name": "agent"} | changes
    return run(space, evaluate, **settings)


def test_every_choice_is_evaluated_once_and_the_best_is_found(url: str) -> None:
    evaluate = Evaluation()
    heard: list[Trial] = []
    result = tune(url, evaluate, on_trial=heard.append)
    assert sorted(evaluate.asked) == sorted(SPACE)
    assert result.stopped_by == "exhausted"
    assert result.best is not None
    assert result.best.choice == Choice("b", 1, 1)
    assert result.best.figures == figures(Choice("b", 1, 1))
    assert tuple(heard) == result.trials
    assert result.reused == 0


def test_a_second_run_evaluates_nothing_again(url: str) -> None:
    tune(url, Evaluation(), trials=2)
    second = Evaluation()
    result = tune(url, second)
    assert result.reused == 2
    assert len(second.asked) == SPACE.size - 2
    third = Evaluation()
    again = tune(url, third)
    assert third.asked == []
    assert again.reused == SPACE.size
    assert again.best == result.best
    assert again.trials == result.trials


def test_trials_of_the_study_count_towards_the_limit(url: str) -> None:
    assert len(tune(url, Evaluation(), trials=3).trials) == 3
    result = tune(url, Evaluation(), trials=3)
    assert result.stopped_by == "trials"
    assert result.reused == 3


def test_no_trials_is_an_empty_result(url: str) -> None:
    result = tune(url, Evaluation(), trials=0)
    assert (result.trials, result.best, result.stopped_by) == ((), None, "trials")


def test_each_candidate_is_tried_before_any_is_tried_again(url: str) -> None:
    evaluate = Evaluation()
    tune(url, evaluate, trials=3)
    assert {choice.candidate for choice in evaluate.asked} == {"a", "b", "c"}


def test_the_budget_is_looked_at_before_each_trial(url: str) -> None:
    now = [0.0]

    def slow(choice: Choice, prune: Prune) -> TrialFigures:
        now[0] += 4.0
        return figures(choice)

    result = tune(url, slow, budget_s=10.0, clock=lambda: now[0])
    assert result.stopped_by == "budget"
    assert [trial.seconds for trial in result.trials] == [4.0, 4.0, 4.0]


def test_clear_losers_are_pruned_and_never_win(url: str) -> None:
    evaluate = Evaluation()
    result = tune(url, evaluate)
    pruned = {trial.choice for trial in result.trials if trial.state == "pruned"}
    assert pruned == set(evaluate.pruned)
    assert pruned
    best = result.best
    assert best is not None
    for trial in result.trials:
        if trial.state == "pruned":
            assert trial.score is not None
            assert trial.score > 2 * best.score  # type: ignore[operator]


def test_a_refused_candidate_is_kept_with_its_reason(url: str) -> None:
    result = tune(url, Evaluation(refused="b"))
    refused = [trial for trial in result.trials if trial.choice.candidate == "b"]
    assert [(trial.state, trial.reason, trial.score) for trial in refused] == [
        ("infeasible", WRONG, None)
    ] * 2
    assert result.best is not None
    assert result.best.choice.candidate == "a"


def test_when_everything_is_refused_there_is_no_best(url: str) -> None:
    def refuse(choice: Choice, prune: Prune) -> TrialFigures:
        raise Infeasible(Reason(ReasonCode.UNSUPPORTED, "no engine takes it"))

    result = tune(url, refuse)
    assert result.best is None
    assert len(result.trials) == SPACE.size


@pytest.mark.parametrize(
    ("goal", "winner"),
    [("latency", "fast"), ("throughput", "wide"), ("memory", "small"), ("balanced", "even")],
)
def test_each_goal_finds_its_winner(url: str, goal: str, winner: str) -> None:
    table = {
        "fast": TrialFigures(1.0, None, 1e5, 10.0),
        "wide": TrialFigures(10.0, None, 1e6, 10.0),
        "small": TrialFigures(10.0, None, 1e5, 1.0),
        "even": TrialFigures(2.0, None, 5e5, 2.0),
    }
    result = tune(
        url,
        lambda choice, prune: table[choice.candidate],
        space=ChoiceSpace(tuple(table)),
        goal=goal,
        reference=TrialFigures(10.0, None, 1e5, 10.0),
    )
    assert result.best is not None
    assert result.best.choice.candidate == winner


def test_balanced_needs_the_figures_of_the_original(url: str) -> None:
    with pytest.raises(TuningError, match="compares with the original"):
        tune(url, Evaluation(), goal="balanced")


def test_tpe_takes_over_after_its_start_and_still_finds_the_best(url: str) -> None:
    space = ChoiceSpace(tuple(f"engine{number}" for number in range(8)), (1, 2, 4), (1, 8))

    def evaluate(choice: Choice, prune: Prune) -> TrialFigures:
        latency = 10.0 + int(choice.candidate[-1]) * 3 + choice.threads + choice.batch
        return TrialFigures(latency, None, 1e6 / latency, 1.0)

    result = tune(url, evaluate, space=space, trials=30)
    assert len({trial.choice for trial in result.trials}) == 30
    assert result.best is not None
    assert result.best.choice == Choice("engine0", 1, 1)
    assert result.importance is not None
    assert set(result.importance) == {"candidate", "threads", "batch"}
    assert json.loads(json.dumps(result.to_json()))["best"] == result.best.number


def test_the_same_seed_makes_the_same_search(tmp_path: Path) -> None:
    orders = []
    for name in ("one", "two"):
        evaluate = Evaluation()
        tune(f"sqlite:///{tmp_path / name}.db", evaluate)
        orders.append(evaluate.asked)
    assert orders[0] == orders[1]


def test_ctrl_c_keeps_what_was_done_and_frees_the_rest(url: str) -> None:
    first = Evaluation(stop_after=2)
    with pytest.raises(KeyboardInterrupt):
        tune(url, first)
    second = Evaluation()
    result = tune(url, second)
    assert len(first.asked) == 2
    assert sorted([*first.asked, *second.asked]) == sorted(SPACE)
    assert result.reused == 2


def test_without_resume_the_study_starts_anew(url: str) -> None:
    tune(url, Evaluation())
    evaluate = Evaluation()
    result = tune(url, evaluate, resume=False)
    assert len(evaluate.asked) == SPACE.size
    assert result.reused == 0


def test_a_study_of_another_space_or_goal_is_not_mixed_in(url: str) -> None:
    tune(url, Evaluation())
    with pytest.raises(TuningError, match="made for another search"):
        tune(url, Evaluation(), goal="memory")
    with pytest.raises(TuningError, match="made for another search"):
        tune(url, Evaluation(), space=ChoiceSpace(("a",)))
    assert len(tune(url, Evaluation(), space=ChoiceSpace(("a",)), resume=False).trials) == 1


def test_a_file_that_is_no_database_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("this is not a database, it is a note. " * 100)
    with pytest.raises(StorageError, match="not a database"):
        tune(f"sqlite:///{path}", Evaluation())
    assert path.read_text().startswith("this is not")


def test_optuna_says_nothing_and_its_level_is_put_back(url: str, caplog: pytest.LogCaptureFixture) -> None:
    before = optuna.logging.get_verbosity()
    with caplog.at_level(logging.DEBUG):
        tune(url, Evaluation(), trials=2)
    assert [record for record in caplog.records if record.name.startswith("optuna")] == []
    assert optuna.logging.get_verbosity() == before


def start(url: str, log: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.tuning.worker", url, str(log), str(seconds)]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_two_processes_share_a_study_and_nothing_is_done_twice(url: str, tmp_path: Path) -> None:
    logs = [tmp_path / "one.log", tmp_path / "two.log"]
    workers = [start(url, log, 0.1) for log in logs]
    for worker in workers:
        _, stderr = worker.communicate(timeout=120)
        assert worker.returncode == 0, stderr
    done = [log.read_text().splitlines() for log in logs]
    assert all(done), "both processes must have found something to do"
    evaluated = sorted(done[0] + done[1])
    assert evaluated == sorted(f"{c.candidate} {c.threads} {c.batch}" for c in SHARED)
    result = tune(url, Evaluation(), space=SHARED, study_name="shared", trials=100)
    assert result.stopped_by == "exhausted"
    assert result.reused == SHARED.size == len(result.trials)


def test_a_killed_process_leaves_a_study_that_resumes(url: str, tmp_path: Path) -> None:
    log = tmp_path / "killed.log"
    worker = start(url, log, 30.0)
    deadline = time.monotonic() + 60
    while not log.exists() or not log.read_text().endswith("\n"):
        assert worker.poll() is None, worker.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    worker.send_signal(signal.SIGKILL)
    worker.communicate()
    interrupted = log.read_text().split()
    second = tmp_path / "second.log"
    resumed = start(url, second, 0.0)
    _, stderr = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, stderr
    lines = second.read_text().splitlines()
    assert len(lines) == len(set(lines)) == SHARED.size
    assert " ".join(interrupted) in lines


def test_choices_that_cannot_be_taken_now_are_left_for_later(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    space = ChoiceSpace(("a", "b"))
    seen: list[str] = []

    def evaluate(choice: Choice, prune: Prune) -> TrialFigures:
        seen.append(choice.candidate)
        return TrialFigures(1.0, None, 1.0, 1.0)

    shared = {
        "goal": "latency",
        "trials": 9,
        "budget_s": 60.0,
        "storage_url": url,
        "study_name": "s",
        "seed": 0,
    }
    first = run(space, evaluate, without={Choice("b", 1, 1)}, **shared)  # type: ignore[arg-type]
    assert (seen, first.stopped_by) == (["a"], "exhausted")
    assert [trial.choice.candidate for trial in finished(url, "s")] == ["a"]
    assert finished(url, "another") == ()
    run(space, evaluate, **shared)  # type: ignore[arg-type]
    assert seen == ["a", "b"]


def test_a_short_score_is_held_against_the_rival(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"

    def evaluate(choice: Choice, prune: Prune) -> TrialFigures:
        assert prune(3.0)
        return TrialFigures(3.0, None, 1.0, 1.0)

    result = run(
        ChoiceSpace(("a",)), evaluate, goal="latency", trials=9, budget_s=60.0, storage_url=url,
        study_name="s", seed=0, to_beat=1.0,
    )  # fmt: skip
    assert [trial.state for trial in result.trials] == ["pruned"]
