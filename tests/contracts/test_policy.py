"""What every eviction policy promises, and the exact order of those that have one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grandopt.runtime.cache.policies.adaptive import Adaptive
from grandopt.runtime.cache.policies.base import Policy
from grandopt.runtime.cache.policies.lfu import LFU
from grandopt.runtime.cache.policies.lru import LRU

MAKERS: list[Callable[[], Policy]] = [LRU, LFU, Adaptive]
every_policy = pytest.mark.parametrize("make", MAKERS)
steps = st.lists(st.tuples(st.sampled_from(["use", "discard", "pop"]), st.integers(0, 12)), max_size=120)


@every_policy
@given(steps=steps)
def test_it_holds_what_was_added_and_has_not_left(
    make: Callable[[], Policy], steps: list[tuple[str, int]]
) -> None:
    policy, held = make(), set[int]()
    for step, key in steps:
        if step == "use":
            policy.hit(key) if key in held else policy.add(key)
            held.add(key)
        elif step == "discard":
            policy.discard(key)
            held.discard(key)
        elif held:
            victim = policy.pop()
            assert victim in held
            held.remove(victim)
        assert len(policy) == len(held)
    assert {policy.pop() for _ in range(len(policy))} == held


@every_policy
@given(keys=st.lists(st.integers(0, 30), max_size=200), late=st.integers(1, 20))
def test_hits_told_in_batches_or_at_once_give_the_same_order(
    make: Callable[[], Policy], keys: list[int], late: int
) -> None:
    """One policy hears of each hit, one of batches, and one without the lock if it can."""
    alone, batched, touched = make(), make(), make()
    waiting, held, victims = list[int](), set[int](), list[list[object]]([[], [], []])
    for key in keys:
        if key in held:
            alone.hit(key)
            waiting.append(key)
            (touched.touch or touched.hit)(key)
        if key not in held or len(waiting) == late:
            batched.hits(waiting)
            waiting.clear()
        if key not in held:
            held.add(key)
            for place, policy in enumerate((alone, batched, touched)):
                policy.add(key)
                if len(held) > 12:
                    victims[place].append(policy.pop())
            held -= set(victims[0])
    assert victims[0] == victims[1] == victims[2]


@every_policy
def test_an_empty_policy_has_no_victim(make: Callable[[], Policy]) -> None:
    policy = make()
    with pytest.raises(KeyError):
        policy.pop()
    policy.add("key")
    policy.discard("key")
    with pytest.raises(KeyError):
        policy.pop()


@every_policy
def test_keys_that_are_not_held_are_ignored(make: Callable[[], Policy]) -> None:
    policy = make()
    policy.add("held")
    policy.hit("never seen")
    policy.discard("never seen")
    assert len(policy) == 1
    assert policy.pop() == "held"
    policy.hit("held")
    assert len(policy) == 0


def _oracle(steps: list[tuple[str, int]], by_uses: bool) -> list[int]:
    """The victims, found by looking at all keys: fewest uses first if wanted, then the oldest last use."""
    uses, last, victims = dict[int, int](), dict[int, int](), []
    for time, (step, key) in enumerate(steps):
        if step == "use":
            uses[key] = uses.get(key, 0) + 1
            last[key] = time
        elif step == "pop" and uses:
            key = min(uses, key=lambda held: (uses[held] if by_uses else 0, last[held]))
            victims.append(key)
        if step in ("discard", "pop"):
            uses.pop(key, None)
    return victims


@pytest.mark.parametrize(("make", "by_uses"), [(LRU, False), (LFU, True)])
@given(steps=steps)
def test_the_order_is_exactly_the_definition(
    make: Callable[[], Policy], by_uses: bool, steps: list[tuple[str, int]]
) -> None:
    policy, held, victims = make(), set[int](), []
    for step, key in steps:
        if step == "use":
            policy.hit(key) if key in held else policy.add(key)
            held.add(key)
        elif step == "discard":
            policy.discard(key)
            held.discard(key)
        elif held:
            victim = policy.pop()
            assert isinstance(victim, int)
            victims.append(victim)
            held.remove(victim)
    # The oracle pops only when it holds something, with a key that plays no part otherwise.
    assert victims == _oracle(steps, by_uses)
