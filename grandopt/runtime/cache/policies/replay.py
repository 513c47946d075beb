"""What a policy would find of a stream of keys."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from grandopt.runtime.cache.policies.base import Policy


def replay(policy: Policy, keys: Iterable[Hashable], capacity: int) -> int:
    """How many of `keys` are found if each is put in when it is not, with room for `capacity` of them."""
    held: set[Hashable] = set()
    hits = 0
    for key in keys:
        if key in held:
            hits += 1
            policy.hit(key)
            continue
        policy.add(key)
        held.add(key)
        if len(held) > capacity:
            held.remove(policy.pop())
    return hits
