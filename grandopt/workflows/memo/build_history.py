"""What this machine has seen of builds, kept in the store: how long they take, and how often one wins."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Literal

from grandopt.artifacts.store import Store
from grandopt.config.engine import Precision
from grandopt.measurement.environment import environment

SizeClass = Literal["small", "large", "very large"]

LARGE_FLOP = 5_000_000
"""Above this many operations a call the arithmetic counts; below, what an engine spends around it."""

VERY_LARGE_FLOP = 100_000_000

MOST_BUILDS = 32
"""From here on what was seen counts half, so that the newest builds weigh most and a note stays small."""


@dataclass(frozen=True)
class BuildKind:
    """What builds must share to be expected to go alike."""

    engine: str
    precision: Precision
    size: SizeClass


@dataclass(frozen=True)
class Seen:
    """What was seen of a kind of builds: how many (older ones count less), their `seconds` together, and how
    many of them were the fastest candidate of their agent."""

    builds: float = 0.0
    seconds: float = 0.0
    won: float = 0.0

    def and_one(self, seconds: float, *, won: bool) -> Seen:
        """The same with one build more."""
        part = 0.5 if self.builds >= MOST_BUILDS else 1.0
        return Seen(part * self.builds + 1, part * self.seconds + seconds, part * self.won + won)


def size_class(flop: int | None) -> SizeClass:
    """The size class of an agent with so many operations a call; of an unknown number it is large."""
    if flop is None:
        return "large"
    return "small" if flop <= LARGE_FLOP else "large" if flop <= VERY_LARGE_FLOP else "very large"


class BuildHistory:
    """The builds that a store has seen on this machine, by their kind.

    Runs that share a store and end at the same moment may lose each other's builds; nothing but the order of
    building depends on them.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._key = hashlib.sha256(f"build history 1 {environment().identity}".encode()).hexdigest()
        self._seen: dict[BuildKind, Seen] | None = None

    def seen(self, kind: BuildKind) -> Seen:
        """What was seen of a kind, up to when this object was first asked."""
        if self._seen is None:
            self._seen = self._read()
        return self._seen.get(kind, Seen())

    def add(self, builds: list[tuple[BuildKind, float]], winner: BuildKind | None) -> None:
        """Note builds with their seconds, one of which (of the kind `winner`) was the fastest of its agent.

        Raises OutputError when the store cannot be written.
        """
        if not builds:
            return
        seen, waiting = self._read(), winner
        for kind, seconds in builds:
            seen[kind] = seen.get(kind, Seen()).and_one(seconds, won=kind == waiting)
            waiting = None if kind == waiting else waiting
        rows = [
            [kind.engine, kind.precision, kind.size, round(item.builds, 3), round(item.seconds, 3), item.won]
            for kind, item in seen.items()
        ]
        self._store.put_note(self._key, json.dumps(rows).encode())

    def _read(self) -> dict[BuildKind, Seen]:
        body = self._store.note(self._key)
        rows = [] if body is None else json.loads(body)
        return {
            BuildKind(engine, precision, size): Seen(builds, seconds, won)
            for engine, precision, size, builds, seconds, won in rows
        }
