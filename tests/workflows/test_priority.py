"""The order of building, over random histories: engines always built first, then what gains most a second."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from grandopt.artifacts.store import Store
from grandopt.compiler.candidates import LIST
from grandopt.workflows.memo.build_history import (
    LARGE_FLOP,
    MOST_BUILDS,
    VERY_LARGE_FLOP,
    BuildHistory,
    BuildKind,
    Seen,
    size_class,
)
from grandopt.workflows.selection.priority import Outlook, in_order, kind_of

CANDIDATES = [item.candidate for item in LIST]
FLOPS = (None, 1, LARGE_FLOP, LARGE_FLOP + 1, VERY_LARGE_FLOP + 1)


def any_history(seed: int) -> Callable[[BuildKind], Seen]:
    """Any builds that a machine can have seen, the same for the same seed."""

    def seen(kind: BuildKind) -> Seen:
        draw = random.Random(f"{seed} {kind}")
        builds = draw.choice([0, 1, 3, MOST_BUILDS])
        return Seen(builds, builds * draw.choice([0.1, 2.0, 40.0]), draw.randint(0, builds))

    return seen


def labels(order: list[Outlook]) -> list[str]:
    return [item.candidate.label for item in order]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("flop", FLOPS)
def test_whatever_was_seen_nothing_is_lost_and_the_order_is_that_of_gain(seed: int, flop: int | None) -> None:
    shuffled = random.Random(seed).sample(CANDIDATES, len(CANDIDATES))
    order = in_order(shuffled, flop, any_history(seed))
    assert order == in_order(shuffled, flop, any_history(seed)), "equal histories, equal orders"
    assert sorted(labels(order)) == sorted(item.label for item in CANDIDATES)
    always = [item for item in shuffled if item.options.prior.always]
    precisions = {item.precision for item in always}
    first, rest = order[: len(precisions)], order[len(precisions) :]
    assert {item.candidate.precision for item in first} == precisions
    assert all(item.candidate.options.prior.always for item in first)
    slow = [item.expected.slow for item in rest]
    assert slow == sorted(slow, reverse=True), "one process begins with what is slow, the others do the rest"
    for lot in (first, *([item for item in rest if item.expected.slow is kind] for kind in (True, False))):
        gains = [item.gain_per_s for item in lot]
        assert gains == sorted(gains, reverse=True)


@pytest.mark.parametrize("seed", range(20))
def test_what_resembles_one_before_it_is_worth_less(seed: int) -> None:
    chances: dict[BuildKind, float] = {}
    order = {item.candidate.label: item for item in in_order(CANDIDATES, 1, any_history(seed))}
    for candidate in CANDIDATES:
        kind, chance = kind_of(candidate, 1), order[candidate.label].chance
        assert chance < chances.get(kind, 2.0)
        chances[kind] = chance


def test_what_a_machine_sees_takes_the_place_of_the_prior() -> None:
    kind = BuildKind("openvino", "float32", "small")

    def place(seen: Seen) -> int:
        order = in_order(CANDIDATES, 1, lambda asked: seen if asked == kind else Seen())
        return labels(order).index("openvino/float32")

    assert place(Seen(30, 30 * 2.0, 30)) < place(Seen()) < place(Seen(30, 30 * 7.5, 0))


def test_equals_keep_the_given_order() -> None:
    twins = [item for item in CANDIDATES if (item.engine, item.precision) == ("torchscript", "float32")]
    assert len(twins) == 2
    for given in (twins, twins[::-1]):
        assert [item.candidate for item in in_order(given, 1)] == given, "the first is the engine's first"


def test_the_history_is_kept_bounded_and_of_this_machine(tmp_path: Path) -> None:
    store = Store(tmp_path)
    native, other = BuildKind("native", "float32", "small"), BuildKind("openvino", "float32", "small")
    assert BuildHistory(store).seen(native) == Seen()
    BuildHistory(store).add([(native, 2.0), (native, 4.0), (other, 3.0)], native)
    again = BuildHistory(store)
    assert (again.seen(native), again.seen(other)) == (Seen(2, 6.0, 1), Seen(1, 3.0, 0))
    for _ in range(20 * MOST_BUILDS):
        BuildHistory(store).add([(native, 8.0)], None)
    kept = BuildHistory(store).seen(native)
    assert kept.builds <= MOST_BUILDS + 1
    assert kept.seconds / kept.builds == pytest.approx(8.0, rel=0.01), "the newest weigh most"
    assert kept.won < 0.01


def test_without_builds_nothing_is_written(tmp_path: Path) -> None:
    BuildHistory(Store(tmp_path)).add([], BuildKind("native", "float32", "small"))
    assert list(tmp_path.iterdir()) == []


def test_an_agent_of_unknown_size_is_taken_for_large() -> None:
    assert [size_class(flop) for flop in FLOPS] == ["large", "small", "small", "large", "very large"]
