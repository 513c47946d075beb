"""Which of several configurations none of the others beats."""

from __future__ import annotations

from collections.abc import Sequence


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether `one` is nowhere worse and somewhere better; lower is better."""
    pairs = list(zip(one, other, strict=True))
    return all(mine <= theirs for mine, theirs in pairs) and any(mine < theirs for mine, theirs in pairs)


def non_dominated(scores: Sequence[Sequence[float]]) -> list[int]:
    """The places of those that no other dominates, in order; equal ones are all there."""
    return [place for place, mine in enumerate(scores) if not any(dominates(other, mine) for other in scores)]
