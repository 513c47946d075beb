"""Window, probation and protected segment: the order of one W-TinyLFU configuration."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from grandopt.runtime.cache.policies.frequency import Frequency

PROTECTED = 0.8
"""Part of the main region for keys hit there (Einziger, Friedman and Manes, "TinyLFU", 2017)."""


@dataclass(frozen=True)
class Shape:
    """How much is given to new keys, and how hard it is for them to replace an old one.

    `window` is the part of all keys that new ones pass through; at 1 the order is exactly LRU. A key that
    comes out of the window replaces the next victim if it was used more than `margin` times more often.
    """

    window: float
    margin: int = 0


class Segments:
    """W-TinyLFU over a number of keys that the owner decides by calling `pop`.

    It differs from the published policy in one point: a victim that withstands a candidate moves to the end
    of its queue. Otherwise one popular key at the head would keep all those behind it, however stale.
    """

    def __init__(self, shape: Shape, frequency: Frequency) -> None:
        self._shape = shape
        self._frequency = frequency
        self._window: OrderedDict[Hashable, None] = OrderedDict()
        self._probation: OrderedDict[Hashable, None] = OrderedDict()
        self._protected: OrderedDict[Hashable, None] = OrderedDict()
        self._candidate: Hashable | None = None

    def __len__(self) -> int:
        return len(self._window) + len(self._probation) + len(self._protected)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._window or key in self._probation or key in self._protected

    def reshape(self, shape: Shape) -> None:
        """Go on with another shape: a smaller window gives up its oldest keys at once."""
        self._shape = shape
        self._candidate = None
        while len(self._window) > self._room():
            self._probation[self._window.popitem(last=False)[0]] = None

    def add(self, key: Hashable) -> None:
        """Put in a new key; one that comes out of the window for it is on probation."""
        self._window[key] = None
        if len(self._window) > self._room():
            self._candidate = self._window.popitem(last=False)[0]
            self._probation[self._candidate] = None

    def hit(self, key: Hashable) -> bool:
        """Note a use; whether the key is there."""
        if key in self._protected:
            self._protected.move_to_end(key)
        elif key in self._window:
            self._window.move_to_end(key)
        elif key in self._probation:
            self._promote(key)
        else:
            return False
        return True

    def discard(self, key: Hashable) -> None:
        """Forget a key; unknown ones are ignored."""
        for segment in (self._window, self._probation, self._protected):
            segment.pop(key, None)

    def pop(self) -> Hashable:
        """Forget and return the key that leaves next; KeyError when there is none."""
        candidate, self._candidate = self._candidate, None
        if candidate is not None and candidate in self._probation:
            return self._contest(candidate)
        segment = self._probation or self._protected
        if not segment or len(self._window) > self._room():
            segment = self._window
        return segment.popitem(last=False)[0]

    def _contest(self, candidate: Hashable) -> Hashable:
        queue = self._probation if len(self._probation) > 1 else self._protected
        if not queue:
            return self._probation.popitem(last=False)[0]
        victim = next(iter(queue))
        needed = self._frequency.of(victim) + self._shape.margin
        if self._frequency.of(candidate) > needed:
            del queue[victim]
            return victim
        queue.move_to_end(victim)
        del self._probation[candidate]
        return candidate

    def _promote(self, key: Hashable) -> None:
        probation, protected = self._probation, self._protected
        del probation[key]
        protected[key] = None
        held = len(protected)
        if held > PROTECTED * (len(probation) + held):
            probation[protected.popitem(last=False)[0]] = None

    def _room(self) -> int:
        """Keys that the window may hold; all when there is no other region."""
        if self._shape.window >= 1:
            return len(self) + 1
        return max(1, int(self._shape.window * len(self)))
