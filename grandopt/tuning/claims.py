"""Who evaluates which choice, when several processes work on one study.

A choice is claimed as in Lamport's bakery algorithm ("A New Solution of Dijkstra's Concurrent Programming
Problem", 1974): the storage numbers entries in the order of their creation; an entry names its choice,
waits until every lower-numbered running one has named its own, and gives way to those that named the same.
A process stopped for more than `UNNAMED_S` between creating an entry and naming its choice is taken for
dead, so that nobody waits for it forever.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from grandopt.tuning.owner import alive
from grandopt.tuning.space import Choice, ChoiceSpace

UNNAMED_S = 10.0
"""A running entry that names no choice after this long was left behind."""

UNSEEN_S = 3600.0
"""A running entry of another host, whose processes cannot be seen from here, is given up after this long."""

Claim = Literal["won", "lost", "wait"]


@dataclass(frozen=True)
class StoredTrial:
    """One trial in the storage, evaluated or not. `age_s` is the time since its creation."""

    number: int
    running: bool
    choice: Choice | None
    owner: Mapping[str, Any] | None
    age_s: float

    @property
    def abandoned(self) -> bool:
        """Whether it is running by name only, because its process is gone."""
        if not self.running:
            return False
        lives = None if self.owner is None else alive(self.owner)
        if lives is False:
            return True
        if self.choice is None:
            return self.age_s > UNNAMED_S
        return lives is None and self.age_s > UNSEEN_S


def free(
    space: ChoiceSpace, entries: Iterable[StoredTrial], without: Collection[Choice] = frozenset()
) -> list[Choice]:
    """The choices that nobody has evaluated or is working on, in the order of the space.

    Those in `without` cannot be evaluated now and are not offered.
    """
    taken = {entry.choice for entry in entries if not entry.abandoned}
    return [choice for choice in space if choice not in taken and choice not in without]


def claim(number: int, choice: Choice, entries: Iterable[StoredTrial]) -> Claim:
    """Whether entry `number` may evaluate `choice`, has to give way, or must look again."""
    verdict: Claim = "won"
    for entry in entries:
        if entry.number == number or entry.abandoned:
            continue
        if entry.choice == choice and (not entry.running or entry.number < number):
            return "lost"
        if entry.choice is None and entry.running and entry.number < number:
            verdict = "wait"
    return verdict
