"""Whose turn it is to change something."""

from __future__ import annotations


class Turn:
    """Lets one of several controllers change something at a time; they share one."""

    def __init__(self) -> None:
        self._holder: object | None = None

    def take(self, holder: object) -> bool:
        """Whether `holder` has it now."""
        if self._holder is None:
            self._holder = holder
        return self._holder is holder

    def give_back(self, holder: object) -> None:
        """Let another one have it; nothing happens where `holder` has not."""
        if self._holder is holder:
            self._holder = None
