"""The search without trials: every choice once, in order, until the time is used up."""

from __future__ import annotations

import time
from typing import cast

from grandopt.reason import Reason, ReasonCode
from grandopt.tuning.objective import TrialFigures
from grandopt.tuning.result import Infeasible, TuningResult
from grandopt.tuning.space import Choice, ChoiceSpace
from grandopt.workflows.selection.scoring import Evaluation
from grandopt.workflows.selection.search import Search, _in_order

FAR_BEHIND = 100.0
WRONG = Reason(ReasonCode.ERROR_TOO_LARGE, "output 'q': error 2 is 20 times the limit 0.1")


class Known:
    """Answers with known latencies; what has none is infeasible, what is far behind is left after a look."""

    def __init__(self, latencies: dict[str, float], seconds: float = 0.0) -> None:
        self.latencies = latencies
        self.seconds = seconds
        self.asked: list[str] = []

    def looked_at(self, choice: Choice) -> tuple[TrialFigures, bool]:
        self.asked.append(choice.candidate)
        time.sleep(self.seconds)
        if choice.candidate not in self.latencies:
            raise Infeasible(WRONG)
        latency = self.latencies[choice.candidate]
        figures = TrialFigures(latency_us=latency, p99_us=None, throughput=1e6 / latency, memory_mb=1.0)
        return figures, latency >= FAR_BEHIND

    def score(self, figures: TrialFigures) -> float:
        return figures.latency_us


def _search(known: Known, budget_s: float = 60.0) -> TuningResult:
    choices = list(ChoiceSpace(("a", "b", "c")))
    return _in_order(choices, cast("Evaluation", known), Search(budget_s=budget_s))


def test_every_choice_is_tried_once_and_the_best_is_named() -> None:
    known = Known({"a": 30.0, "c": 20.0})
    found = _search(known)
    assert known.asked == ["a", "b", "c"]
    assert [(trial.choice.candidate, trial.state, trial.score) for trial in found.trials] == [
        ("a", "complete", 30.0),
        ("b", "infeasible", None),
        ("c", "complete", 20.0),
    ]
    assert found.trials[1].reason == WRONG
    assert found.best is found.trials[2]
    assert (found.stopped_by, found.reused) == ("exhausted", 0)


def test_the_budget_ends_the_search() -> None:
    known = Known({"a": 30.0, "b": 20.0, "c": 10.0}, seconds=0.05)
    found = _search(known, budget_s=0.01)
    assert known.asked == ["a"]
    assert (found.stopped_by, found.best) == ("budget", found.trials[0])


def test_without_a_usable_choice_there_is_no_best() -> None:
    found = _search(Known({}))
    assert found.best is None
    assert {trial.state for trial in found.trials} == {"infeasible"}


def test_what_was_left_after_a_look_is_pruned_and_never_the_best() -> None:
    found = _search(Known({"a": 500.0, "b": 900.0}))
    assert [trial.state for trial in found.trials] == ["pruned", "pruned", "infeasible"]
    assert found.best is None
