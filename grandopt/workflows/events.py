"""What a running job says about itself. The log and the terminal both listen; nothing is printed here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from grandopt.private import told

Level = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True)
class Event:
    """One line of progress: which agent is at which step, and what is to be said about it.

    `done` and `total` count agents; `remaining_s` is what is left of this agent's time budget.
    """

    level: Level
    agent: str
    step: str
    message: str
    done: int = 0
    total: int = 0
    remaining_s: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", told(self.message))  # it goes to the log and to the terminal


Listener = Callable[[Event], None]


def silent(event: Event) -> None:
    """A listener for callers that want to hear nothing."""
