"""How the latency of an agent's best candidates grows with the batch: the batcher of a server will ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from grandopt.errors import MeasurementError
from grandopt.measurement.curve import BATCHES, curves
from grandopt.measurement.subject import Subject
from grandopt.reporting.figures import CurveReport
from grandopt.verification.inputs import ring
from grandopt.workflows import records
from grandopt.workflows.contest import ORIGINAL, Contest
from grandopt.workflows.entry import Entry
from grandopt.workflows.once import once
from grandopt.workflows.run import Run

MAX_SECONDS = 4.0
"""For all batch sizes and both candidates together."""


def _steady(data: dict[str, Any]) -> bool:
    """Whether no other work disturbed."""
    return all(point["stable"] for curve in data["curves"] for point in curve["points"])


def batch_curves(run: Run, contest: Contest, entries: Sequence[Entry | None]) -> tuple[CurveReport, ...]:
    """The curves of candidates (None is the original), measured side by side at the first one's threads.

    Where they cannot be measured, each has no points and the reason.
    """
    labels = [ORIGINAL if entry is None else entry.label for entry in entries]
    artifacts = [contest.original if entry is None else contest.artifact(entry) for entry in entries]
    threads = next((entry.threads for entry in entries if entry is not None), 1)
    subjects = [
        Subject(label, artifact.path, trust=True) for label, artifact in zip(labels, artifacts, strict=True)
    ]

    def measured() -> dict[str, Any]:
        run.tell(contest.program.name, "batches", f"1 to {BATCHES[-1]}: {', '.join(labels)}")
        inputs = ring(
            contest.program.signature,
            samples=contest.samples,
            count=256 + BATCHES[-1],
            seed=run.job.seed,
        )
        found = curves(subjects, inputs, run.pool, threads=threads, max_seconds=MAX_SECONDS)
        return {"curves": [asdict(curve) for curve in found]}

    try:
        data = once(
            run, "curves", artifacts, [threads, BATCHES, MAX_SECONDS, run.job.seed], measured, _steady
        )
    except MeasurementError as error:
        return tuple(
            CurveReport(label=label, threads=threads, points=(), reason=str(error)) for label in labels
        )
    return tuple(
        records.curve(item, label, threads, data["measured"])
        for item, label in zip(data["curves"], labels, strict=True)
    )
