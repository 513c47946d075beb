"""Measurements of an artifact that an earlier run has already taken on this machine.

Only what is no part of a comparison is kept: what starting costs, and the curve over batch sizes. The report
says when each was measured; `--no-resume` measures again.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from grandopt.artifacts.artifact import Artifact
from grandopt.measurement.environment import environment
from grandopt.workflows.code import code_digest, library_versions
from grandopt.workflows.run import Run

MEASURING = ("measurement", "runtime", "signature.py")
"""The parts of grandopt that decide what is measured, and how."""

MOST_RUNS = 3
"""In how many runs an unsettled result is replaced by a new one before it is kept as it is."""


def once(
    run: Run,
    what: str,
    artifacts: Sequence[Artifact],
    settings: Any,
    measure: Callable[[], dict[str, Any]],
    settled: Callable[[dict[str, Any]], bool] = lambda data: True,
) -> dict[str, Any]:
    """The result of `measure` as plain data, with the moment in "measured": kept from an earlier run or new.

    A kept one is of the same artifacts, settings, machine, libraries and code. One for which `settled` is
    False (other work disturbed) is measured again by the next runs, MOST_RUNS times in all; nothing is
    measured twice in one run.
    """
    parts = [
        what,
        [artifact.manifest.digest for artifact in artifacts],
        settings,
        environment().identity,
        library_versions(artifacts),
        platform.python_version(),
        code_digest(MEASURING),
    ]
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    note = run.store.note(key) if run.job.resume or key in run.taken else None
    kept: dict[str, Any] = {"runs": 0, "data": {}} if note is None else json.loads(note)
    if kept["runs"] and (kept["runs"] >= MOST_RUNS or settled(kept["data"]) or key in run.taken):
        return dict(kept["data"])
    moment = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    data = {**measure(), "measured": moment}
    run.store.put_note(key, json.dumps({"runs": kept["runs"] + 1, "data": data}).encode())
    run.taken.add(key)
    return data
