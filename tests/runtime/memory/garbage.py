"""A garbage collector that a test looks into."""

from __future__ import annotations

from typing import Any

from tests.runtime.cache.clock import Clock


class FakeGc:
    """Implements what is used of the module `gc`. A collection takes `seconds[generation]`."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.callbacks: list[Any] = []
        self.thresholds = (700, 10, 10)
        self.enabled = True
        self.frozen = 0
        self.objects = 1000
        self.new = 0
        self.seconds = [0.001, 0.01, 0.1]
        self.collected: list[int] = []

    def collect(self, generation: int = 2, /) -> int:
        for call in self.callbacks:
            call("start", {"generation": generation, "collected": 0, "uncollectable": 0})
        self.clock.now += self.seconds[generation]
        self.collected.append(generation)
        found, self.new = self.new, 0
        for call in self.callbacks:
            call("stop", {"generation": generation, "collected": found, "uncollectable": 0})
        return found

    def freeze(self) -> None:
        self.frozen, self.objects = self.frozen + self.objects, 0

    def unfreeze(self) -> None:
        self.frozen, self.objects = 0, self.frozen + self.objects

    def get_freeze_count(self) -> int:
        return self.frozen

    def get_count(self) -> tuple[int, int, int]:
        return (self.new, 0, 0)

    def get_threshold(self) -> tuple[int, int, int]:
        return self.thresholds

    def set_threshold(self, young: int, middle: int = 10, old: int = 10, /) -> None:
        self.thresholds = (young, middle, old)

    def isenabled(self) -> bool:
        return self.enabled

    def enable(self) -> None:
        self.enabled = True

    def disable(self) -> None:
        self.enabled = False
