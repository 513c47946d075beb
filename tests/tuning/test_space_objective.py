"""Spaces, scores and claims, without a study."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grandopt.errors import TuningError
from grandopt.tuning.claims import UNNAMED_S, UNSEEN_S, StoredTrial, claim, free
from grandopt.tuning.objective import TrialFigures, score
from grandopt.tuning.owner import alive, this_process
from grandopt.tuning.space import Choice, ChoiceSpace

SPACE = ChoiceSpace(("a", "b"), (1, 2), (1, 8))
A, B = Choice("a", 1, 1), Choice("b", 1, 1)

positive = st.floats(0.01, 1e6)
figures = st.builds(TrialFigures, positive, st.none(), positive, positive)


def entry(number: int, choice: Choice | None, *, running: bool = True, age_s: float = 0.0) -> StoredTrial:
    return StoredTrial(number, running, choice, this_process(), age_s)


def test_a_space_holds_every_combination_once() -> None:
    choices = list(SPACE)
    assert len(choices) == len(set(choices)) == SPACE.size == 8
    assert Choice("b", 2, 8) in choices


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((), (1,), (1,)), "no candidates"),
        ((("a",), (), (1,)), "no threads"),
        ((("a", "a"), (1,), (1,)), "candidates twice"),
        ((("a",), (0,), (1,)), "at least 1"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused(arguments: tuple[tuple, ...], message: str) -> None:
    with pytest.raises(TuningError, match=message):
        ChoiceSpace(*arguments)


def test_each_goal_has_its_unit() -> None:
    fast, original = TrialFigures(5.0, None, 1e6, 4.0), TrialFigures(20.0, 30.0, 250_000, 8.0)
    assert score("latency", fast, original) == 5.0
    assert score("throughput", fast, original) == 1e-6
    assert score("memory", fast, original) == 4.0
    assert score("balanced", fast, original) == pytest.approx((1 / 4 * 1 / 4 * 1 / 2) ** (1 / 3))


@given(figures)
def test_the_original_scores_one_when_balanced(original: TrialFigures) -> None:
    assert score("balanced", original, original) == pytest.approx(1.0)


@given(figures, figures, st.floats(1.1, 10))
def test_better_figures_never_score_worse(one: TrialFigures, original: TrialFigures, factor: float) -> None:
    faster = TrialFigures(one.latency_us / factor, None, one.throughput * factor, one.memory_mb / factor)
    for goal in ("latency", "throughput", "memory", "balanced"):
        assert score(goal, faster, original) < score(goal, one, original)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_figures_that_are_no_figures_are_refused(value: float) -> None:
    with pytest.raises(TuningError, match="latency_us"):
        TrialFigures(value, None, 1.0, 1.0)


def test_figures_survive_json() -> None:
    one = TrialFigures(1.5, None, 2.5, 3.5)
    assert TrialFigures.from_json(one.to_json()) == one


def test_what_is_running_or_finished_is_not_free() -> None:
    entries = [entry(0, A), entry(1, B, running=False)]
    assert set(SPACE) - set(free(SPACE, entries)) == {A, B}


def test_the_lower_number_wins_whoever_looks_first() -> None:
    both = [entry(3, A), entry(4, A)]
    assert claim(3, A, both) == "won"
    assert claim(4, A, both) == "lost"


def test_a_later_entry_waits_until_an_earlier_one_has_named_its_choice() -> None:
    assert claim(4, A, [entry(3, None), entry(4, A)]) == "wait"
    assert claim(3, A, [entry(3, A), entry(4, None)]) == "won"


def test_a_finished_choice_is_lost_whatever_its_number() -> None:
    assert claim(3, A, [entry(3, A), entry(9, A, running=False)]) == "lost"


def test_an_entry_that_never_named_its_choice_is_given_up() -> None:
    assert not entry(0, None, age_s=UNNAMED_S - 1).abandoned
    assert entry(0, None, age_s=UNNAMED_S + 1).abandoned


def test_the_entry_of_a_dead_process_is_given_up_at_once() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import json; from grandopt.tuning.owner import this_process; print(json.dumps(this_process()))",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    owner = json.loads(done.stdout)
    assert alive(owner) is False
    assert StoredTrial(0, True, A, owner, 0.0).abandoned
    assert free(SPACE, [StoredTrial(0, True, A, owner, 0.0)]) == list(SPACE)


def test_a_process_id_that_was_used_again_is_another_process() -> None:
    assert alive(this_process()) is True
    assert alive(this_process() | {"started": this_process()["started"] - 3600}) is False
    assert alive(this_process())  # and this one is still itself
    assert this_process()["pid"] == os.getpid()


def test_a_process_on_another_host_is_believed_for_a_while() -> None:
    owner = this_process() | {"host": "elsewhere"}
    assert alive(owner) is None
    assert not StoredTrial(0, True, A, owner, UNSEEN_S - 1).abandoned
    assert StoredTrial(0, True, A, owner, UNSEEN_S + 1).abandoned
