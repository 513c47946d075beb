"""A recommendation: its evidence, the change, and what the change would do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Advice:
    """One recommendation.

    `agent` is None for one about the process. `setting` names what to change, from `now` to `to` where those
    are values. `evidence` holds the measured figures, and `expected` says what the change does and how that
    follows from them.
    """

    code: str
    agent: str | None
    setting: str
    now: float | str | None
    to: float | str | None
    text: str
    expected: str
    evidence: Mapping[str, float | str]


@dataclass(frozen=True)
class Silence:
    """Why nothing can be said of an agent yet."""

    agent: str
    text: str


@dataclass(frozen=True)
class Recommendations:
    """What should be changed, and about what nothing could be said, with the reason."""

    advice: tuple[Advice, ...]
    silent: tuple[Silence, ...]
