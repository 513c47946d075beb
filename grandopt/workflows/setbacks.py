"""What could not be built for an agent, kept so that the next run need not find it out again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from grandopt.artifacts.store import Store


@dataclass(frozen=True)
class Setback:
    """A build that came to nothing: as what it ended, why, and since which day (ISO 8601, UTC) that is known.

    `budget_s` is the time budget that did not suffice; None where the reason has nothing to do with time.
    """

    status: str
    reason: str
    since: str
    budget_s: float | None = None

    @property
    def told(self) -> str:
        """The reason for a report of a later run."""
        return f"{self.reason} (kept from {self.since}; --no-resume tries again)"


class Setbacks:
    """The setbacks that a store knows, by what failed: a build's key, or a network's before its capture.

    Such a key holds all that the outcome depends on, library versions included, so a setback is the same
    until one of them changes. With `resume` False none is known; new ones are kept all the same.
    """

    def __init__(self, store: Store, resume: bool) -> None:
        self._store = store
        self._resume = resume

    def of(self, key: str) -> Setback | None:
        """What is known about `key`."""
        body = self._store.note(_place(key)) if self._resume else None
        return None if body is None else Setback(**json.loads(body))

    def keep(self, key: str, status: str, reason: str, budget_s: float | None = None) -> None:
        """Note a setback of today; raises OutputError when the store cannot be written."""
        setback = Setback(status, reason, datetime.now(UTC).date().isoformat(), budget_s)
        self._store.put_note(_place(key), json.dumps(asdict(setback)).encode())


def _place(key: str) -> str:
    return hashlib.sha256(f"setback {key}".encode()).hexdigest()
