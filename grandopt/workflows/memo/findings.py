"""What a machine found out about an agent's candidates, told to the other machines of its kind.

Figures of equal machines say which candidates are worth measuring; what is shipped never rests on them: a
machine that was told measures a short list itself, and proves its own winner.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import get_args

from grandopt.artifacts.store import Store
from grandopt.limits import document
from grandopt.reason import Reason, ReasonCode, reason_fields, told_reason_of
from grandopt.workflows.building.built import NOT_BUILT
from grandopt.workflows.building.request import BuildStatus, Variant

CLOSE = 1.1
"""What took at most so many times as long as the fastest there may be the fastest here."""

ANEW = "--no-resume"


@dataclass(frozen=True)
class Finding:
    """What became of a candidate: how it was built and verified, and the median µs of its calls.

    `doubt` is the part of them that may be a disturbance (see `TrialFigures`). One without a median was not
    measured.
    """

    status: BuildStatus
    reason: Reason | None = None
    latency_us: float | None = None
    doubt: float = 0.0


@dataclass(frozen=True)
class Findings:
    """What was found out about the candidates of one agent, on which day (ISO 8601, UTC)."""

    since: str
    of: Mapping[Variant, Finding]

    @property
    def fastest(self) -> tuple[Variant, float] | None:
        """The fastest candidate there, and the median µs of its calls; None where none was measured."""
        medians = self._medians()
        return min(medians.items(), key=lambda item: item[1], default=None)

    def close(self) -> list[Variant]:
        """The fastest one, and those that may be as fast on another machine of the kind, in that order."""
        fastest = self.fastest
        if fastest is None:
            return []
        able = [
            variant
            for variant, us in self._medians().items()
            if us * (1 - self.of[variant].doubt) <= CLOSE * fastest[1]
        ]
        return sorted(able, key=self._medians().__getitem__)

    def measured(self, variant: Variant) -> bool:
        """Whether it was measured there."""
        return variant in self._medians()

    def told(self, variant: Variant) -> tuple[BuildStatus, Reason] | None:
        """As what a candidate that is not tried here stands in the report, and why; None of one that has to
        be tried here, because nothing is known of it."""
        found, fastest = self.of.get(variant), self.fastest
        if found is None or fastest is None:
            return None
        where = f"on a machine of this kind on {self.since}"
        if found.latency_us is None:
            reason = found.reason or replace(NOT_BUILT, code=ReasonCode.NOT_MEASURED_IN_TIME)
            status = "not measured" if found.status == "verified" else found.status
            return status, Reason(reason.code, f"{reason} (found {where}; {ANEW} tries it here)", ANEW)
        (label, threads), us = fastest
        name = label if threads == 1 else f"{label}@{threads}"
        words = f"not measured here: it took {found.latency_us / us:.3g} times as long as {name} {where}"
        return "not measured", Reason(ReasonCode.MEASURED_ELSEWHERE, words, ANEW)

    def _medians(self) -> dict[Variant, float]:
        return {
            variant: found.latency_us for variant, found in self.of.items() if found.latency_us is not None
        }


def told_findings(store: Store, key: str) -> Findings | None:
    """What another machine of the fleet found out under a key; None where this one did so itself."""
    if store.note(key) is not None:
        return None
    body = store.note(key, shared=True)
    try:
        return None if body is None else _read(body)
    except (ValueError, KeyError, TypeError):
        return None  # of a grandopt with other fields: found out here again


def share_findings(store: Store, key: str, found: Mapping[Variant, Finding]) -> None:
    """Tell the fleet what this machine found out today; raises OutputError when its own store cannot be
    written."""
    rows = [
        {
            "candidate": label,
            "threads": threads,
            "status": item.status,
            "latency_us": item.latency_us,
            "doubt": item.doubt,
            **reason_fields(item.reason),
        }
        for (label, threads), item in found.items()
    ]
    since = datetime.now(UTC).date().isoformat()
    store.put_note(key, json.dumps({"since": since, "found": rows}).encode(), shared=True)


def _read(body: bytes) -> Findings:
    data = document(body)
    found = {}
    for row in data["found"]:
        us, status = row["latency_us"], row["status"]
        item = Finding(status, told_reason_of(row), None if us is None else float(us), float(row["doubt"]))
        sane = item.latency_us is None or 0 < item.latency_us < math.inf
        if status not in get_args(BuildStatus) or not sane or not 0 <= item.doubt < 1:
            raise ValueError(f"{row} is no finding")
        found[str(row["candidate"]), int(row["threads"])] = item
    return Findings(date.fromisoformat(data["since"]).isoformat(), found)
