"""Seconds per step."""

from __future__ import annotations

import itertools

import pytest

from grandopt.workflows.job import Stages


def test_steps_are_timed_in_order_and_summed() -> None:
    ticks = itertools.count(0.0, 10.0)
    stages = Stages(lambda: next(ticks))
    with stages.step("capture"):
        pass
    with stages.step("search"), stages.step("build"):
        pass
    with stages.step("capture"):
        pass
    assert list(stages.seconds.items()) == [("capture", 20.0), ("search", 30.0), ("build", 10.0)]
    assert stages.elapsed() == 90.0


def test_a_step_that_fails_is_timed_too() -> None:
    ticks = itertools.count(0.0, 1.0)
    stages = Stages(lambda: next(ticks))
    with pytest.raises(ValueError, match="no"), stages.step("measure"):
        raise ValueError("no")
    assert stages.seconds == {"measure": 1.0}
