"""The order of building: the likely winners first, and every engine once before any comes again."""

from __future__ import annotations

import random

from grandopt.compiler.candidates import LIST, Candidate
from grandopt.workflows.order import LARGE_FLOP, likely_first

CANDIDATES = [item.candidate for item in LIST]


def first(flop: int | None, count: int = 2) -> list[tuple[str, str]]:
    return [(item.engine, item.precision) for item in likely_first(CANDIDATES, flop)[:count]]


def test_a_small_agent_begins_with_what_is_cheap_to_call() -> None:
    assert first(LARGE_FLOP) == [("native", "float32"), ("inductor", "float32")]


def test_a_large_agent_or_one_of_unknown_size_begins_with_reduced_precision_that_is_built_soon() -> None:
    expected = [("torchscript", "bfloat16"), ("openvino", "bfloat16")]
    assert first(LARGE_FLOP + 1) == first(None) == expected


def test_nothing_is_lost_and_second_variants_wait_for_all_first_ones() -> None:
    shuffled = random.Random(3).sample(CANDIDATES, len(CANDIDATES))
    ordered = likely_first(shuffled, 1)
    assert sorted(item.label for item in ordered) == sorted(item.label for item in CANDIDATES)
    seen: list[tuple[str, str]] = []
    variants = [0] * len(ordered)
    for place, item in enumerate(ordered):
        variants[place] = seen.count((item.engine, item.precision))
        seen.append((item.engine, item.precision))
    assert variants == sorted(variants)


def test_among_equals_the_given_order_stays() -> None:
    twins = [item for item in CANDIDATES if (item.engine, item.precision) == ("torchscript", "float32")]
    assert len(twins) == 2
    backwards: list[Candidate] = twins[::-1]
    assert likely_first(twins, 1) == twins
    assert likely_first(backwards, 1) == backwards
