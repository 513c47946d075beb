"""Each candidate's row says what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest

from grandopt.reason import Reason, ReasonCode
from grandopt.tuning.objective import TrialFigures
from grandopt.tuning.result import State, Trial, TuningResult
from grandopt.tuning.space import Choice
from grandopt.workflows.building.built import BuiltCandidate
from grandopt.workflows.selection.candidate_set import CandidateSet
from grandopt.workflows.selection.final_decision import NONE_USABLE, Decision, decide
from grandopt.workflows.selection.rows import candidate_rows, limit_of
from tests.workflows.fakes import EAGER, MACHINE, PLAIN, SCRIPT, WORK, built, measurement


class Entered:
    """A set of three candidates in which these were built."""

    def __init__(self, *builds: BuiltCandidate) -> None:
        self.candidates = {candidate.label: candidate for candidate in (EAGER, PLAIN, SCRIPT)}
        self._builds = builds

    def builds(self) -> list[BuiltCandidate]:
        return list(self._builds)


def _trial(number: int, label: str, state: State, score: float | None, reason: Reason | None = None) -> Trial:
    figures = None if score is None else TrialFigures(score, None, 1e6 / score, 1.0)
    return Trial(number, Choice(label, 1, 1), state, score, figures, reason, 1.0)


def _found(trials: Sequence[Trial]) -> TuningResult:
    complete = [trial for trial in trials if trial.state == "complete"]
    best = min(complete, key=lambda trial: trial.score or 0.0, default=None)
    return TuningResult(tuple(trials), best, "latency", "exhausted")


def _candidate_set(*builds: BuiltCandidate) -> CandidateSet:
    return cast("CandidateSet", Entered(*builds))


def test_what_was_measured_has_figures_and_a_reason_for_losing() -> None:
    eager, script = built(EAGER), built(SCRIPT)
    refused = built(PLAIN, "refused", "output 'q': error 2 is 20 times the limit 0.1")
    figures = measurement(original=100, eager__float32=80, torchscript__float32=50)
    trials = [_trial(0, EAGER.label, "complete", 80.0), _trial(1, SCRIPT.label, "complete", 50.0)]
    rows = candidate_rows(
        _candidate_set(eager, script, refused), _found(trials), figures, decide(figures, [eager, script])
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
    assert (rows[2].reason, rows[2].figures) == (str(refused.reason), None)
    assert [row.reason_code for row in rows] == [ReasonCode.SLOWER, None, ReasonCode.ERROR_TOO_LARGE]


def test_rows_that_were_measured_have_their_distance_to_the_machines_limit() -> None:
    eager, refused = built(EAGER), built(PLAIN, "refused", "output 'q' is wrong")
    figures = measurement(original=100, eager__float32=80)
    rows = candidate_rows(
        _candidate_set(eager, refused),
        _found([]),
        figures,
        decide(figures, [eager]),
        limit_of(WORK, MACHINE, 1),
    )
    assert rows[0].figures is not None
    assert rows[0].figures.limit_us == pytest.approx(0.31)
    assert rows[0].figures.limit_factor == pytest.approx(rows[0].figures.p50_us / 0.31)
    assert rows[1].figures is None


def test_where_the_original_is_kept_it_is_the_rival() -> None:
    eager = built(EAGER)
    figures = measurement(original=100, eager__float32=200)
    rows = candidate_rows(_candidate_set(eager), _found([]), figures, decide(figures, [eager]))
    assert rows[0].status == "slower"
    assert str(rows[0].reason).startswith("original is 2.0")


def test_trials_of_an_earlier_run_and_untried_candidates_have_their_reasons() -> None:
    said = Reason(ReasonCode.ENGINE_FAILED, "the engine said: no, never")
    trials = [
        _trial(0, EAGER.label, "infeasible", None, said),
        _trial(3, SCRIPT.label, "pruned", 75.0),
    ]
    rows = candidate_rows(
        _candidate_set(), _found(trials), measurement(original=100), Decision(None, None, NONE_USABLE)
    )
    assert [(row.label, row.status, row.reason) for row in rows] == [
        ("eager/float32", "failed", "the engine said: no, never"),
        ("torchscript/float32", "pruned", "p50 75 µs in the short measurement of trial 3"),
        ("torchscript/float32/no-ofi", "not measured", "the time budget was used up"),
    ]
    assert [row.reason_code for row in rows] == [
        ReasonCode.ENGINE_FAILED,
        ReasonCode.CLEARLY_BEHIND,
        ReasonCode.NOT_BUILT_IN_TIME,
    ]


def test_of_several_batches_the_best_trial_stands_for_the_candidate() -> None:
    slow, fast = (
        Trial(number, Choice(EAGER.label, 1, batch), "complete", score, None, None, 1.0)
        for number, batch, score in ((0, 1, 90.0), (1, 32, 10.0))
    )
    rows = candidate_rows(
        _candidate_set(), _found([slow, fast]), measurement(original=100), Decision(None, None, None)
    )
    assert rows[0].status == "chosen"
