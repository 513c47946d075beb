"""What else is measured of the best candidates: starting, the two figures of a call, latency over the batch.

What was measured of an artifact on this machine is kept, and measured again only where it may differ.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from grandopt.artifacts.artifact import Artifact
from grandopt.errors import MeasurementError
from grandopt.measurement.cold import ColdStart, cold_start
from grandopt.measurement.curve import BATCHES, curves
from grandopt.measurement.environment import environment
from grandopt.measurement.measure import measure
from grandopt.measurement.result import Measurement
from grandopt.measurement.ring import MIN_RING
from grandopt.measurement.settings import MeasurementSettings
from grandopt.measurement.subject import Subject
from grandopt.measurement.warmth import Warmth, warmth
from grandopt.reason import Reason
from grandopt.reporting.figures import CurveReport
from grandopt.signature import Array
from grandopt.verification.inputs import ring
from grandopt.workflows import records
from grandopt.workflows.building.built import BuiltCandidate
from grandopt.workflows.job import Run
from grandopt.workflows.memo.fingerprint import code_digest, library_versions
from grandopt.workflows.selection.candidate_set import CandidateSet


def cold_figures(
    run: Run, candidate_set: CandidateSet, built: BuiltCandidate, threads: int
) -> tuple[ColdStart, str]:
    """The cold start of a candidate, or of the original, and the moment it was measured.

    Raises MeasurementError when it does not start, or does not answer the first call.
    """
    subject = candidate_set.subject(built)

    def measured() -> dict[str, Any]:
        run.tell(candidate_set.program.name, "start", f"{subject.label} in a fresh process")
        inputs = [array[:1] for array in candidate_set.observations(1)]
        return asdict(cold_start(subject, inputs, threads=threads, loader=run.pool.loader))

    data = measure_or_load(run, "cold", [candidate_set.artifact(built)], [threads, run.job.seed], measured)
    moment = data.pop("measured")
    return ColdStart(**data), moment


def warmth_figures(
    run: Run, candidate_set: CandidateSet, builds: Sequence[BuiltCandidate], threads: int
) -> dict[str, Warmth]:
    """A call of each of these, warm and after other work, by label; nothing where it cannot be measured."""
    artifacts = [candidate_set.artifact(built) for built in builds]

    def measured() -> dict[str, Any]:
        labels = ", ".join(built.label for built in builds)
        run.tell(candidate_set.program.name, "warmth", f"warm and after other work: {labels}")
        subjects = [candidate_set.subject(built) for built in builds]
        found = warmth(subjects, candidate_set.observations(1), run.pool, threads=threads)
        return {"subjects": [asdict(item) for item in found]}

    try:
        data = measure_or_load(run, "warmth", artifacts, [threads, run.job.seed], measured, _agreeing)
    except MeasurementError as error:
        run.tell(candidate_set.program.name, "warmth", f"not measured: {error}", level="warning")
        return {}
    return {item["label"]: Warmth(**item) for item in data["subjects"]}


def _agreeing(data: dict[str, Any]) -> bool:
    """Whether no other work disturbed but what was meant to."""
    return all(item["steady"] for item in data["subjects"])


MAX_SECONDS = 2.0
"""For all batch sizes of one candidate."""


def _steady(data: dict[str, Any]) -> bool:
    """Whether no other work disturbed."""
    return all(point["stable"] for curve in data["curves"] for point in curve["points"])


def batch_curves(
    run: Run, candidate_set: CandidateSet, builds: Sequence[BuiltCandidate]
) -> tuple[CurveReport, ...]:
    """The curves of candidates, measured side by side at the threads of the first that was built for some.

    Where they cannot be measured, each has no points and the reason.
    """
    labels = [built.label for built in builds]
    artifacts = [candidate_set.artifact(built) for built in builds]
    threads = next((built.threads for built in builds if not built.is_original), 1)
    subjects = [candidate_set.subject(built) for built in builds]
    max_seconds = MAX_SECONDS * len(subjects)

    def measured() -> dict[str, Any]:
        run.tell(candidate_set.program.name, "batches", f"1 to {BATCHES[-1]}: {', '.join(labels)}")
        inputs = ring(
            candidate_set.program.signature,
            samples=candidate_set.samples,
            count=256 + BATCHES[-1],
            seed=run.job.seed,
        )
        found = curves(subjects, inputs, run.pool, threads=threads, max_seconds=max_seconds)
        return {"curves": [asdict(curve) for curve in found]}

    try:
        data = measure_or_load(
            run, "curves", artifacts, [threads, BATCHES, max_seconds, run.job.seed], measured, _steady
        )
    except MeasurementError as error:
        return tuple(
            CurveReport(label=label, threads=threads, points=(), reason=str(error)) for label in labels
        )
    return tuple(
        records.curve(item, label, threads, data["measured"])
        for item, label in zip(data["curves"], labels, strict=True)
    )


RING_BYTES = 64 << 20
"""What the inputs of a batch size may take as long as no sample is to be in two batches."""


def side_by_side(
    run: Run, candidate_set: CandidateSet, subjects: Sequence[Subject], settings: MeasurementSettings
) -> tuple[Measurement, dict[str, Reason]]:
    """The original and the subjects, interleaved, and the reason of each subject that cannot be measured.

    Raises MeasurementError when the original cannot be measured, or the machine refuses.
    """
    original = candidate_set.subject(candidate_set.original)
    inputs = _inputs(run, candidate_set, settings.batch)
    _tell(run, candidate_set, len(subjects) + 1, settings)
    try:
        return measure([original, *subjects], inputs, settings, run.pool), {}
    except MeasurementError as error:
        run.tell(candidate_set.program.name, "measure", f"one by one: {error}", level="warning")
    broken: dict[str, Reason] = {}
    short = replace(settings, processes=1, rounds=3, max_seconds=0.25)
    for subject in [original, *subjects]:
        try:
            measure([subject], inputs, short, run.pool)
        except MeasurementError as error:
            if subject is original:
                raise
            broken[subject.label] = Reason.of(error)
    left = [subject for subject in subjects if subject.label not in broken]
    _tell(run, candidate_set, len(left) + 1, settings)
    return measure([original, *left], inputs, settings, run.pool), broken


def _tell(run: Run, candidate_set: CandidateSet, count: int, settings: MeasurementSettings) -> None:
    batch = "" if settings.batch == 1 else f" at batch {settings.batch}"
    seconds = f"up to {count * settings.max_seconds:.0f} s"
    message = f"the original and {count - 1} others{batch}, {settings.processes} processes, {seconds}"
    run.tell(candidate_set.program.name, "measure", message)


def _inputs(run: Run, candidate_set: CandidateSet, batch: int) -> tuple[Array, ...]:
    """Distinct inputs; large ones overlap from batch to batch."""
    signature = candidate_set.program.signature
    row = sum(spec.elements * 8 for spec in signature.inputs)
    if batch == 1 or MIN_RING * batch * row <= RING_BYTES:
        return candidate_set.observations(batch)
    return ring(
        signature,
        samples=candidate_set.samples,
        moments=candidate_set.evidence.moments,
        count=MIN_RING + batch - 1,
        seed=run.job.seed,
    )


MEASURING = ("measurement", "runtime", "signature.py")
"""The parts of grandopt that decide what is measured, and how."""

MOST_RUNS = 3
"""In how many runs an unsettled result is replaced by a new one before it is kept as it is."""


def measure_or_load(
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
