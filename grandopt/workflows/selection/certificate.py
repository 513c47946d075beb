"""What is proven of the shipped build: on which states its action cannot differ from the original's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Literal

import numpy as np

from grandopt.compiler.bounds.certificate import Box, certify
from grandopt.compiler.identity import arrays_digest, compiler_identity, graph_digest
from grandopt.compiler.program import Program
from grandopt.config.engines import NativeOptions
from grandopt.errors import UnsupportedError
from grandopt.reporting.certificate import CertifiedReport
from grandopt.signature import Array
from grandopt.workflows.building.built import BuildInputs, BuiltCandidate
from grandopt.workflows.job import Run

Samples = Sequence[Array] | None
Certificate = CertifiedReport | None


def certificate_of(run: Run, agent: BuildInputs, kept: BuiltCandidate, samples: Samples) -> Certificate:
    """What is `certified` of the kept build of an agent, from the store where an earlier run found it out."""
    grounds = agent.grounds(kept.candidate)
    parts = [
        "certificate",
        graph_digest(agent.program),
        agent.program.signature.to_json(),
        kept.candidate.precision,
        kept.candidate.options.model_dump(mode="json"),
        *(None if arrays is None else arrays_digest(arrays) for arrays in (samples, grounds)),
        compiler_identity(),
    ]
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    note = run.store.note(key) if run.job.resume else None
    if note is not None:
        return CertifiedReport.model_validate_json(note)
    found = certified(agent.program, kept, samples, grounds)
    if found is not None:
        run.store.put_note(key, found.model_dump_json().encode())
    return found


def certified(
    program: Program,
    kept: BuiltCandidate,
    samples: Samples,
    calibration: Samples,
) -> Certificate:
    """What is certain of the kept build of a program; None for full precision, which the original is of.

    `samples` are the recorded observations, `calibration` what the build was given.
    """
    if kept.candidate.precision == "float32":
        return None
    options = kept.candidate.options
    if not isinstance(options, NativeOptions):
        return CertifiedReport(
            reason=f"no bound: {options.engine} is not open to bounds, the native engine is"
        )
    box, kind = _box(program, samples)
    try:
        found = certify(program, options, samples or (), box, calibration)
    except UnsupportedError as error:
        return CertifiedReport(reason=f"no bound: {error}")
    return CertifiedReport(
        states=found.states,
        certified=found.certified,
        share=found.share,
        action_error=found.action_error,
        bound=found.bound,
        box=None if found.bound is None else kind,
        reason=found.reason,
    )


def _box(
    program: Program, samples: Samples
) -> tuple[list[Box] | None, Literal["declared", "recorded"] | None]:
    """What the inputs lie within: as declared, or else as recorded."""
    declared = [spec.bounds() for spec in program.signature.inputs]
    if all(np.isfinite(side).all() for sides in declared for side in sides):
        return declared, "declared"
    if samples is None or not all(len(array) and np.isfinite(array).all() for array in samples):
        return None, None
    return [(array.min(axis=0), array.max(axis=0)) for array in samples], "recorded"
