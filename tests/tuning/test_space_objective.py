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
from grandopt.tuning.claims import claim_name, free
from grandopt.tuning.objective import TrialFigures, score
from grandopt.tuning.owner import alive, this_process
from grandopt.tuning.space import Choice, ChoiceSpace

SPACE = ChoiceSpace(("a", "b"), (1, 2), (1, 8))
A, B = Choice("a", 1, 1), Choice("b", 1, 1)

positive = st.floats(0.01, 1e6)
figures = st.builds(TrialFigures, positive, st.none(), positive, positive)


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


def test_what_is_claimed_or_evaluated_or_impossible_is_not_free() -> None:
    last = Choice("b", 2, 8)
    assert set(SPACE) - set(free(SPACE, [A], {claim_name(B)}, {last})) == {A, B, last}
    assert free(SPACE, [], set()) == list(SPACE)


def test_no_two_choices_share_a_claim() -> None:
    assert len({claim_name(choice) for choice in SPACE}) == SPACE.size


def test_a_process_that_ended_is_seen_to_be_dead() -> None:
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


def test_a_process_id_that_was_used_again_is_another_process() -> None:
    assert alive(this_process()) is True
    assert alive(this_process() | {"started": this_process()["started"] - 3600}) is False
    assert alive(this_process())  # and this one is still itself
    assert this_process()["pid"] == os.getpid()


def test_a_process_on_another_host_cannot_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRANDOPT_HOST", "elsewhere")
    owner = this_process()
    assert owner["host"] == "elsewhere"
    assert alive(owner)
    monkeypatch.delenv("GRANDOPT_HOST")
    assert alive(owner) is None
    # A container of the same name sees other processes.
    assert alive(this_process() | {"sees": "another boot pid:[1]"}) is None
