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
