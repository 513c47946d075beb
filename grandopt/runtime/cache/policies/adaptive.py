"""The policy that follows the workload."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from grandopt.runtime.cache.policies.base import Policy
from grandopt.runtime.cache.policies.frequency import SAMPLED, Frequency
from grandopt.runtime.cache.policies.segments import Segments, Shape

SHAPES = (
    Shape(0.01),  # popularity decides: scans pass by
    Shape(0.01, margin=1),  # the same, and loops longer than the cache keep a fixed part of themselves
    Shape(0.3),  # popularity and recency
    Shape(1.0),  # recency alone: LRU
)
"""What it chooses from. More shapes in between brought less than 0.3 points on the traces that
`grandopt benchmark --suite cache` reads."""

SHADOW = 128
"""Keys of a shadow, at least (up to twice as many): below 100 or so, its hit rate says little."""
MEMORY = 0.9
"""What remains of a shadow's score from one comparison to the next."""
BETTER = 1.02
"""By this factor a shadow must be ahead before its shape is taken: each change costs some hits."""


class Adaptive(Policy):
    """W-TinyLFU whose shape is that of whichever shadow found most keys of late.

    The shadows, one for each of SHAPES, hold keys only. They see a sample of all keys, chosen by hash, and
    hold as much less as they see less, so that their hit rates are estimates of the level's (Waldspurger
    et al., "Cache Modeling and Optimization using Miniature Simulations", 2017). They are compared each
    time that as many uses have passed as keys are held.
    """

    def __init__(self) -> None:
        self._frequency = Frequency()
        self._keys = Segments(SHAPES[0], self._frequency)
        self._chosen = 0
        self._shadows: list[Segments] = []
        self._mask = 0
        self._size = 0
        self._found = [0] * len(SHAPES)
        self._scores = [0.0] * len(SHAPES)
        self._uses = self._due = 0
        self._fitted = 0

    @property
    def shape(self) -> Shape:
        """The shape in force."""
        return SHAPES[self._chosen]

    def add(self, key: Hashable) -> None:
        word = self._frequency.add(key)
        if self._shadows:
            self._used(key, word)
        self._keys.add(key)
        if len(self._keys) > self._fitted:
            self._fit(2 * len(self._keys))

    def hit(self, key: Hashable) -> None:
        word = self._frequency.add(key)
        if self._shadows:
            self._used(key, word)
        self._keys.hit(key)

    def hits(self, keys: Iterable[Hashable]) -> None:
        add, found, shadows = self._frequency.add, self._keys.hit, self._shadows
        for key in keys:
            word = add(key)
            if shadows:
                self._used(key, word)
            found(key)

    def discard(self, key: Hashable) -> None:
        self._keys.discard(key)

    def pop(self) -> Hashable:
        key = self._keys.pop()
        # Before the first victim all shapes hold the same keys, and shadows would tell nothing.
        if not self._shadows:
            self._shadows = [Segments(shape, self._frequency) for shape in SHAPES]
            self._measure()
        return key

    def __len__(self) -> int:
        return len(self._keys)

    def _used(self, key: Hashable, word: int) -> None:
        """Let the shadows see a use, if `key` is in their sample."""
        if not word & self._mask:
            for number, shadow in enumerate(self._shadows):
                if shadow.hit(key):
                    self._found[number] += 1
                else:
                    shadow.add(key)
                    if len(shadow) > self._size:
                        shadow.pop()
        self._uses += 1
        if self._uses >= self._due:
            self._compare()

    def _measure(self) -> None:
        """Fit the shadows to the number of keys held: they see one in 2ⁿ of the keys."""
        held = max(1, len(self._keys))
        bits = max(0, (held // SHADOW).bit_length() - 1)
        self._mask = ((1 << bits) - 1) << SAMPLED
        self._due = max(64, held)
        self._size = max(1, held >> bits)
        self._fit(held)

    def _fit(self, held: int) -> None:
        """Nothing is forgotten before the first victim: until then no count was needed."""
        self._fitted = held
        self._frequency.fit(held, aging=bool(self._shadows))

    def _compare(self) -> None:
        self._uses = 0
        self._measure()
        for number, found in enumerate(self._found):
            self._scores[number] = MEMORY * self._scores[number] + found
            self._found[number] = 0
        best = max(range(len(SHAPES)), key=self._scores.__getitem__)
        if self._scores[best] > BETTER * self._scores[self._chosen]:
            self._chosen = best
            self._keys.reshape(SHAPES[best])
