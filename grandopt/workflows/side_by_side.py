"""Everything that was verified, measured in one go; what breaks a measurement is found and left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from grandopt.errors import MeasurementError
from grandopt.measurement.measure import measure
from grandopt.measurement.result import Measurement
from grandopt.measurement.sampling import MIN_RING
from grandopt.measurement.settings import Settings
from grandopt.measurement.subject import Subject
from grandopt.signature import Array
from grandopt.verification.inputs import ring
from grandopt.workflows.contest import ORIGINAL, Contest
from grandopt.workflows.run import Run

RING_BYTES = 64 << 20
"""What the inputs of a batch size may take as long as no sample is to be in two batches."""


def side_by_side(
    run: Run, contest: Contest, subjects: Sequence[Subject], settings: Settings
) -> tuple[Measurement, dict[str, str]]:
    """The original and the subjects, interleaved, and the reason of each subject that cannot be measured.

    Raises MeasurementError when the original cannot be measured, or the machine refuses.
    """
    original = Subject(ORIGINAL, contest.original.path, trust=True)
    inputs = _inputs(run, contest, settings.batch)
    _tell(run, contest, len(subjects) + 1, settings)
    try:
        return measure([original, *subjects], inputs, settings, run.pool), {}
    except MeasurementError as error:
        run.tell(contest.program.name, "measure", f"one by one: {error}", level="warning")
    broken: dict[str, str] = {}
    short = replace(settings, processes=1, rounds=3, max_seconds=0.25)
    for subject in [original, *subjects]:
        try:
            measure([subject], inputs, short, run.pool)
        except MeasurementError as error:
            if subject is original:
                raise
            broken[subject.label] = str(error)
    left = [subject for subject in subjects if subject.label not in broken]
    _tell(run, contest, len(left) + 1, settings)
    return measure([original, *left], inputs, settings, run.pool), broken


def _tell(run: Run, contest: Contest, count: int, settings: Settings) -> None:
    batch = "" if settings.batch == 1 else f" at batch {settings.batch}"
    seconds = f"up to {count * settings.max_seconds:.0f} s"
    message = f"the original and {count - 1} others{batch}, {settings.processes} processes, {seconds}"
    run.tell(contest.program.name, "measure", message)


def _inputs(run: Run, contest: Contest, batch: int) -> tuple[Array, ...]:
    """Distinct inputs; large ones overlap from batch to batch."""
    signature = contest.program.signature
    row = sum(spec.elements * 8 for spec in signature.inputs)
    if batch == 1 or MIN_RING * batch * row <= RING_BYTES:
        return contest.observations(batch)
    return ring(signature, samples=contest.samples, count=MIN_RING + batch - 1, seed=run.job.seed)
