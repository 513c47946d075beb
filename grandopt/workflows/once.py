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


def once(
    run: Run,
    what: str,
    artifacts: Sequence[Artifact],
    settings: Any,
    measure: Callable[[], dict[str, Any]],
    worth_keeping: Callable[[dict[str, Any]], bool] = lambda data: True,
) -> dict[str, Any]:
    """The result of `measure` as plain data, with the moment in "measured": kept from an earlier run or new.

    A kept one is of the same artifacts, settings, machine, libraries and code. A new one for which
    `worth_keeping` is False is given, but not kept.
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
    kept = run.store.note(key) if run.job.resume else None
    if kept is not None:
        data: dict[str, Any] = json.loads(kept)
        return data
    moment = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    data = {**measure(), "measured": moment}
    if worth_keeping(data):
        run.store.put_note(key, json.dumps(data).encode())
    return data
