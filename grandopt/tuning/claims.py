"""Which choices are free, when several processes on any number of machines work on one study.

Whoever evaluates a choice holds the claim on it, in the storage, under the choice's name. A claim lapses when
its holder dies; what was evaluated stays evaluated.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from grandopt.tuning.space import Choice, ChoiceSpace


def claim_name(choice: Choice) -> str:
    """The name of the claim on a choice; no two choices of a space have the same."""
    return f"{choice.candidate} threads={choice.threads} batch={choice.batch}"


def free(
    space: ChoiceSpace,
    evaluated: Iterable[Choice],
    claimed: Collection[str],
    without: Collection[Choice] = frozenset(),
) -> list[Choice]:
    """The choices that nobody has evaluated or claimed, in the order of the space.

    Those in `without` cannot be evaluated now and are not offered.
    """
    done = set(evaluated)
    return [
        choice
        for choice in space
        if choice not in done and choice not in without and claim_name(choice) not in claimed
    ]
