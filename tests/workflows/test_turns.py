"""Which build comes next, over random builds: none that is slow holds the last process while others wait."""

from __future__ import annotations

import random

import pytest

from grandopt.workflows.building.pool import Turns
from grandopt.workflows.building.request import SLOW_S, Expected, Variant


def simulate(seed: int, processes: int, left_s: float, *, seen: bool) -> tuple[list[Variant], list[Variant]]:
    """Random builds taken by processes that become free in random order; checks every turn.

    Returns what was begun, in order, and what was given up.
    """
    draw = random.Random(seed)
    variants: list[Variant] = [(f"{number}", 1) for number in range(draw.randint(1, 12))]
    expected = {
        variant: Expected(draw.choice([0.5, 2.0, SLOW_S, 12.0, 60.0]), seen)
        for variant in variants
        if draw.random() < 0.9
    }
    turns = Turns(variants, expected, processes)
    slow = {variant for variant, item in expected.items() if item.slow}
    running: list[Variant] = []
    begun: list[Variant] = []
    while True:
        left_s -= draw.random()
        if len(running) == processes or (running and draw.random() < 0.3):
            running.remove(draw.choice(running))
            continue
        quick = [variant for variant in turns.waiting if variant not in slow]
        taken = turns.take(running, left_s)
        if taken is None:
            assert not turns.waiting
            assert sorted(begun + turns.given_up) == sorted(variants)
            return begun, turns.given_up
        begun.append(taken)
        running.append(taken)
        if taken in slow and quick:
            assert len(slow.intersection(running)) < processes, "the last process is left to the quick ones"
        elif quick:
            assert taken == quick[0], "quick ones come in their order"


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("left_s", [0.0, 10.0, 1000.0])
def test_a_slow_build_never_holds_the_last_process_while_quick_ones_wait(
    processes: int, left_s: float
) -> None:
    for seed in range(100):
        begun, given_up = simulate(seed, processes, left_s, seen=False)
        assert not given_up, "what was never seen on this machine is tried"
        assert begun == simulate(seed, processes, left_s, seen=False)[0]


def test_what_was_seen_to_take_longer_than_is_left_is_given_up() -> None:
    ends = [simulate(seed, 2, left_s, seen=True) for seed in range(50) for left_s in (5.0, 1000.0)]
    assert any(given_up for _, given_up in ends[::2])
    assert not any(given_up for _, given_up in ends[1::2])


SLOW, QUICK, OTHER = ("slow", 1), ("quick", 1), ("other", 1)


def test_with_two_processes_one_begins_early_with_what_is_slow() -> None:
    expected = {SLOW: Expected(30.0), QUICK: Expected(2.0), OTHER: Expected(2.0)}
    turns = Turns([SLOW, QUICK, OTHER], expected, 2)
    assert turns.take([], 39.0) == SLOW
    assert turns.take([SLOW], 39.0) == QUICK
    assert turns.take([SLOW], 37.0) == OTHER


def test_with_one_process_and_where_time_is_short_slow_ones_come_last() -> None:
    expected = {SLOW: Expected(30.0), QUICK: Expected(2.0), OTHER: Expected(2.0)}
    for processes, left_s in ((1, 39.0), (2, 3.0)):
        turns = Turns([SLOW, QUICK, OTHER], expected, processes)
        taken = [turns.take([], left_s) for _ in range(3)]
        assert taken == ([QUICK, OTHER, SLOW] if processes == 1 else [QUICK, SLOW, OTHER])


def test_one_can_be_taken_out_of_its_turn() -> None:
    turns = Turns([QUICK, OTHER], {}, 2)
    assert turns.remove(OTHER)
    assert not turns.remove(OTHER)
    assert turns.take([], 1.0) == QUICK
    assert turns.take([], 1.0) is None
