"""What could not be built for an agent, kept so that the next run need not find it out again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from grandopt.artifacts.store import Store
from grandopt.limits import document
from grandopt.reason import Reason, reason_fields, reason_of, told_reason_of

MORE = 1.25
"""By so much more time than it had a build is tried once more."""


@dataclass(frozen=True)
class FailedBuild:
    """A build that came to nothing: as what it ended, why, and since which day (ISO 8601, UTC) that is known.

    `given_s` are the seconds that it had and that did not suffice, 0 where it never began; None where the
    reason has nothing to do with time. `stage_s` are those that all builds of that run had together. It was
    found out `elsewhere` where another machine of the fleet told it.
    """

    status: str
    reason: Reason
    since: str
    given_s: float | None = None
    stage_s: float = 0.0
    elsewhere: bool = False

    def is_worth_another_try(self, seconds: float) -> bool:
        """Whether it may come to something in so many seconds: it never began, or had clearly fewer.

        What was found out on another machine of the fleet is left to that one, which goes on with it.
        """
        if self.given_s is None or self.elsewhere:
            return False
        return self.given_s == 0 or seconds > MORE * self.given_s

    @property
    def told(self) -> Reason:
        """The reason for a report of a later run."""
        words = f"{self.reason} (kept from {self.since}; --no-resume tries again)"
        return replace(self.reason, text=words)


class FailedBuilds:
    """The failed builds that a store knows, by what failed: a build's key, or a network's before its capture.

    Such a key holds all that the outcome depends on, library versions included, so a failed build is the same
    until one of them changes. With `resume` False none is known; new ones are kept all the same.
    """

    def __init__(self, store: Store, resume: bool) -> None:
        self._store = store
        self._resume = resume

    def of(self, key: str) -> FailedBuild | None:
        """What is known about `key`."""
        if not self._resume:
            return None
        body, elsewhere = self._store.note(_place(key)), False
        if body is None:
            body, elsewhere = self._store.note(_place(key), shared=True), True
        if body is None:
            return None
        try:
            data = document(body)
            reason = told_reason_of(data) if elsewhere else reason_of(data)
            times = data["given_s"], data["stage_s"]
            status, since = str(data["status"]), str(data["since"])
        except (ValueError, KeyError, TypeError):
            return None  # another machine's, of a grandopt with other fields
        return None if reason is None else FailedBuild(status, reason, since, *times, elsewhere)

    def keep(
        self, key: str, status: str, reason: Reason, given_s: float | None = None, stage_s: float = 0.0
    ) -> None:
        """Note a failed build of today; raises OutputError when the store cannot be written."""
        since = datetime.now(UTC).date().isoformat()
        times = {"since": since, "given_s": given_s, "stage_s": stage_s}
        note = {"status": status, **times, **reason_fields(reason)}
        self._store.put_note(_place(key), json.dumps(note).encode(), shared=True)


def _place(key: str) -> str:
    """Where the note lies. Those of earlier versions have other fields: they lie elsewhere."""
    return hashlib.sha256(f"failed build with its code and times {key}".encode()).hexdigest()
