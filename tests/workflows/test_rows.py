"""Each candidate's row says what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest

from grandopt.tuning.objective import Figures
from grandopt.tuning.result import State, Trial, TuningResult
from grandopt.tuning.space import Choice
from grandopt.workflows.contest import Contest, Entry
from grandopt.workflows.decision import Decision, decide
from grandopt.workflows.rows import candidate_rows
from tests.workflows.fakes import EAGER, PLAIN, SCRIPT, entry, measurement


class Entered:
    """A contest of three candidates in which these were built."""

    def __init__(self, *entries: Entry) -> None:
        self.candidates = {candidate.label: candidate for candidate in (EAGER, PLAIN, SCRIPT)}
        self._entries = entries

    def entries(self) -> list[Entry]:
        return list(self._entries)


def _trial(number: int, label: str, state: State, score: float | None, reason: str | None = None) -> Trial:
    figures = None if score is None else Figures(score, None, 1e6 / score, 1.0)
    return Trial(number, Choice(label, 1, 1), state, score, figures, reason, 1.0)


def _found(trials: Sequence[Trial]) -> TuningResult:
    complete = [trial for trial in trials if trial.state == "complete"]
    best = min(complete, key=lambda trial: trial.score or 0.0, default=None)
    return TuningResult(tuple(trials), best, "latency", "exhausted")


def _contest(*entries: Entry) -> Contest:
    return cast("Contest", Entered(*entries))


def test_what_was_measured_has_figures_and_a_reason_for_losing() -> None:
    eager, script = entry(EAGER), entry(SCRIPT)
    refused = entry(PLAIN, "refused", "output 'q': error 2 is 20 times the limit 0.1")
    figures = measurement(original=100, eager__float32=80, torchscript__float32=50)
    trials = [_trial(0, EAGER.label, "complete", 80.0), _trial(1, SCRIPT.label, "complete", 50.0)]
    rows = candidate_rows(
        _contest(eager, script, refused), _found(trials), figures, decide(figures, [eager, script])
    )
    assert [(row.label, row.status) for row in rows] == [
        ("eager/float32", "slower"),
        ("torchscript/float32", "chosen"),
        ("torchscript/float32/no-ofi", "refused"),
    ]
    assert rows[0].reason is not None
    assert rows[0].reason.startswith("torchscript/float32 is 1.60× as fast (1.")
    assert rows[1].reason is None
    assert rows[1].speedup is not None
    assert 1.9 < rows[1].speedup.value < 2.1
    assert rows[1].figures is not None
    assert 49 < rows[1].figures.p50_us < 51
    assert (rows[2].reason, rows[2].figures) == (refused.reason, None)


def test_rows_that_were_measured_have_their_distance_to_the_machines_limit() -> None:
    eager, refused = entry(EAGER), entry(PLAIN, "refused", "output 'q' is wrong")
    figures = measurement(original=100, eager__float32=80)
    rows = candidate_rows(
        _contest(eager, refused), _found([]), figures, decide(figures, [eager]), limit_us=20.0
    )
    assert rows[0].figures is not None
    assert rows[0].figures.limit_us == 20.0
    assert rows[0].figures.limit_factor == pytest.approx(rows[0].figures.p50_us / 20.0)
    assert rows[1].figures is None


def test_where_the_original_is_kept_it_is_the_rival() -> None:
    eager = entry(EAGER)
    figures = measurement(original=100, eager__float32=200)
    rows = candidate_rows(_contest(eager), _found([]), figures, decide(figures, [eager]))
    assert rows[0].status == "slower"
    assert str(rows[0].reason).startswith("original is 2.0")


def test_trials_of_an_earlier_run_and_untried_candidates_have_their_reasons() -> None:
    trials = [
        _trial(0, EAGER.label, "infeasible", None, "failed: the engine said: no, never"),
        _trial(3, SCRIPT.label, "pruned", 75.0),
    ]
    rows = candidate_rows(
        _contest(), _found(trials), measurement(original=100), Decision(None, None, "nothing")
    )
    assert [(row.label, row.status, row.reason) for row in rows] == [
        ("eager/float32", "failed", "the engine said: no, never"),
        ("torchscript/float32", "pruned", "p50 75 µs in the short measurement of trial 3"),
        ("torchscript/float32/no-ofi", "not measured", "the time budget was used up"),
    ]


def test_of_several_batches_the_best_trial_stands_for_the_candidate() -> None:
    slow, fast = (
        Trial(number, Choice(EAGER.label, 1, batch), "complete", score, None, None, 1.0)
        for number, batch, score in ((0, 1, 90.0), (1, 32, 10.0))
    )
    rows = candidate_rows(
        _contest(), _found([slow, fast]), measurement(original=100), Decision(None, None, None)
    )
    assert rows[0].status == "chosen"
