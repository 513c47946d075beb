"""What starting costs: an artifact in a fresh process, measured once and kept."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from grandopt.measurement.cold import ColdStart, cold_start
from grandopt.measurement.subject import Subject
from grandopt.workflows.contest import ORIGINAL, Contest
from grandopt.workflows.entry import Entry
from grandopt.workflows.once import once
from grandopt.workflows.run import Run


def cold_figures(run: Run, contest: Contest, entry: Entry | None, threads: int) -> tuple[ColdStart, str]:
    """The cold start of a candidate, or for None of the original, and the moment it was measured.

    Raises MeasurementError when it does not start, or does not answer the first call.
    """
    label = ORIGINAL if entry is None else entry.label
    artifact = contest.original if entry is None else contest.artifact(entry)
    subject = Subject(label, artifact.path, trust=True)

    def measured() -> dict[str, Any]:
        run.tell(contest.program.name, "start", f"{label} in a fresh process")
        inputs = [array[:1] for array in contest.observations(1)]
        return asdict(cold_start(subject, inputs, threads=threads, loader=run.pool.loader))

    data = once(run, "cold", [artifact], [threads, run.job.seed], measured)
    moment = data.pop("measured")
    return ColdStart(**data), moment
