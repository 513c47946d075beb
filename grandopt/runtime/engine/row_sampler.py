"""Which observations of the traffic are looked at: each by itself, with the same chance."""

from __future__ import annotations

import math
import random


class RowSampler:
    """Draws each row with probability `share`, whatever batches rows come in.

    It draws how many rows to pass over, not each row, so a batch without a drawn one costs a comparison.
    """

    def __init__(self, share: float, draw: random.Random) -> None:
        self._draw = draw
        self._share = share
        self.over = self._gap()
        """How many rows are passed over before the next drawn one."""

    @property
    def share(self) -> float:
        """The probability at present."""
        return self._share

    def sample(self, share: float) -> None:
        """Draw with another probability from now on."""
        self._share = share
        self.over = self._gap()  # as good as the one before: a gap has no memory

    def places(self, rows: int) -> list[int]:
        """The drawn ones among the next `rows` rows."""
        if self.over >= rows:
            self.over -= rows
            return []
        found, place = [], self.over
        while place < rows:
            found.append(place)
            place += 1 + self._gap()
        self.over = place - rows
        return found

    def _gap(self) -> int:
        if self._share >= 1.0:
            return 0
        return int(math.log(1.0 - self._draw.random()) / math.log1p(-self._share))
