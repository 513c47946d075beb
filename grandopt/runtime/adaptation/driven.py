"""Work that is done in pieces, when whoever drives it says that it is time: a service waits for each."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass

from grandopt.runtime.adaptation.evidence import Reading


@dataclass(frozen=True)
class Wait:
    """Go on after `seconds`, with a reading of the service, or with nothing but the rows that wait then."""

    seconds: float
    depth_only: bool = False


Life = Generator[Wait | None, None, None]
"""What is driven: after each Wait, and after None at once, but for what the service has to do meanwhile."""


class Driven:
    """Goes through its life. `pull` gives the service's counts, `depth` alone how many rows wait, for less.

    Whoever drives it calls `step`, and then again after the number of seconds that it gave; or `piece` in its
    place, which does less at a time. Both belong to one thread.
    """

    def __init__(self, pull: Callable[[], Reading], depth: Callable[[], int] | None) -> None:
        self._pull, self._pull_depth = pull, depth
        self._now = pull()
        self._depth_now = self._now.depth
        self._life = self._live()
        self._awaited: Wait | None = None

    def step(self) -> float:
        """Look at the service, act if it is time, and say after how many seconds to call again."""
        while (seconds := self.piece()) is None:
            pass
        return seconds

    def piece(self) -> float | None:
        """A part of `step`; None where the next part may follow as soon as the service lets it."""
        waited, self._awaited = self._awaited, None
        if waited is not None:
            if not waited.depth_only:
                self._now = self._pull()
                self._depth_now = self._now.depth
                return None  # reading took long enough
            self._depth_now = self._depth()
        self._awaited = next(self._life)
        return None if self._awaited is None else self._awaited.seconds

    def _live(self) -> Life:
        raise NotImplementedError

    def _depth(self) -> int:
        return self._pull().depth if self._pull_depth is None else self._pull_depth()
