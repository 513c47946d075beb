"""A value that is made when it is first asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Once(Generic[Value]):
    """What `make` gives, made at the first use, once however many threads ask; where it raises, tried again.

    Copies and pickles of it make their own.
    """

    def __init__(self, make: Callable[[], Value]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: list[Value] = []

    @property
    def value(self) -> Value:
        """The value."""
        made = self._made
        if made:  # without the lock: it is there for good
            return made[0]
        with self._lock:
            if not made:
                made.append(self._make())
            return made[0]

    def __reduce__(self) -> tuple[type[Once[Value]], tuple[Callable[[], Value]]]:
        return Once, (self._make,)
