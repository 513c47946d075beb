"""Who answers for an agent beside the engine, with the same executor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from grandopt.runtime.engine.direct import DirectStats
from grandopt.runtime.engine.version import Version


class Follower(ABC):
    """Has an agent's version, and is told of another one: see `Engine.follow`.

    `changed` and `ended` are called in the engine's event loop and return at once; `stats` from any thread.
    """

    leave: Callable[[], None]
    """Set by `follow`: call it once when nothing more is answered."""

    @abstractmethod
    def changed(self, version: Version) -> None:
        """Answer with `version` from now on."""

    @abstractmethod
    def ended(self) -> None:
        """The agent is served no longer."""

    @abstractmethod
    def stats(self) -> DirectStats:
        """What was answered until now."""
