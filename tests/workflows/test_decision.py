"""What is shipped follows from the figures alone."""

from __future__ import annotations

import pytest

from grandopt.workflows.building.built import ORIGINAL
from grandopt.workflows.selection.final_decision import NONE_USABLE, decide, is_slower
from tests.workflows.fakes import EAGER, PLAIN, SCRIPT, built, measurement

ENTRIES = [built(EAGER), built(SCRIPT)]


def test_the_fastest_wins() -> None:
    decision = decide(measurement(original=100, eager__float32=80, torchscript__float32=50), ENTRIES)
    assert decision.winner is ENTRIES[1]
    assert decision.reason is None
    assert decision.ratio is not None
    assert decision.ratio.value == pytest.approx(2.0, rel=0.02)
    assert 1 < decision.ratio.low <= decision.ratio.value <= decision.ratio.high


def test_what_is_slower_is_not_shipped() -> None:
    decision = decide(measurement(original=100, eager__float32=125, torchscript__float32=110), ENTRIES)
    assert (decision.winner, decision.ratio) == (None, None)
    assert decision.reason is not None
    assert decision.reason.text.startswith("nothing was faster: the best, torchscript/float32, ran at 0.91×")


def test_what_may_be_noise_is_not_shipped() -> None:
    # A share of the noise: the interval of the paired ratio reaches across 1.
    figures = measurement(noise=0.5, original=100, eager__float32=99.9)
    ratio = figures.ratio(ORIGINAL, "eager/float32")
    assert ratio.low < 1 < ratio.high
    assert decide(figures, [built(EAGER)]).winner is None


def test_nothing_verified_is_a_reason_of_its_own() -> None:
    decision = decide(measurement(original=100), [])
    assert (decision.winner, decision.reason) == (None, NONE_USABLE)


def test_threads_are_part_of_what_is_compared() -> None:
    two = built(PLAIN, threads=2)
    assert two.label == "torchscript/float32/no-ofi@2"
    decision = decide(measurement(**{"original": 100, "torchscript__float32__no-ofi@2": 70}), [two])
    assert decision.winner is two


def test_slower_means_beyond_doubt() -> None:
    figures = measurement(original=100, equal=100, slower=110, faster=90)
    assert [is_slower(figures.ratio(ORIGINAL, label)) for label in ("equal", "slower", "faster")] == [
        False,
        True,
        False,
    ]
