"""What is proven of the shipped build: on which states its action cannot differ from the original's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from grandopt.compiler.bounds.certificate import Box, certify
from grandopt.compiler.program import Program
from grandopt.config.engines import NativeOptions
from grandopt.errors import UnsupportedError
from grandopt.reporting.certificate import CertifiedReport
from grandopt.signature import Array
from grandopt.workflows.building.built import BuiltCandidate


def certified(
    program: Program,
    kept: BuiltCandidate,
    samples: Sequence[Array] | None,
    calibration: Sequence[Array] | None,
) -> CertifiedReport | None:
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
    program: Program, samples: Sequence[Array] | None
) -> tuple[list[Box] | None, Literal["declared", "recorded"] | None]:
    """What the inputs lie within: as declared, or else as recorded."""
    declared = [spec.bounds() for spec in program.signature.inputs]
    if all(np.isfinite(side).all() for sides in declared for side in sides):
        return declared, "declared"
    if samples is None or not all(len(array) and np.isfinite(array).all() for array in samples):
        return None, None
    return [(array.min(axis=0), array.max(axis=0)) for array in samples], "recorded"
