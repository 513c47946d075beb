"""The contract of every eviction policy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable


class Policy(ABC):
    """The order in which the keys of one level leave it.

    Thread safety: none; the level that owns a policy calls it under its lock. A policy holds keys only, and
    knows no capacity: the level asks for a victim when its limits, in entries or in bytes, are exceeded.
    """

    touch: Callable[[Hashable], object] | None = None
    """`hit` for any thread at any time, without the level's lock; KeyError for a key that is not held. None
    where the order cannot be kept so: hits are then reported late, in batches."""

    @abstractmethod
    def add(self, key: Hashable) -> None:
        """`key`, which is not held, was put into the level."""

    @abstractmethod
    def hit(self, key: Hashable) -> None:
        """`key` was found. A key that is not held any more is ignored: hits are reported late."""

    def hits(self, keys: Iterable[Hashable]) -> None:
        """`hit` of each key in turn."""
        for key in keys:
            self.hit(key)

    @abstractmethod
    def discard(self, key: Hashable) -> None:
        """`key` left the level for another reason (expired, replaced, removed); unknown keys are ignored."""

    @abstractmethod
    def pop(self) -> Hashable:
        """Forget and return the key that leaves next: possibly the one added last. KeyError when empty."""

    @abstractmethod
    def __len__(self) -> int:
        """How many keys are held."""
