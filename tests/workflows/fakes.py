"""Measurements and entries with known figures, made of the real classes."""

from __future__ import annotations

import numpy as np

from grandopt.compiler.build import Candidate
from grandopt.config.engines import EagerOptions, TorchScriptOptions
from grandopt.measurement.limit import CacheSpeed, MachineLimit
from grandopt.measurement.result import Measurement, ProcessSamples, SubjectSamples
from grandopt.measurement.settings import MeasurementSettings
from grandopt.measurement.wire.kernels import Peak
from grandopt.reason import Reason, ReasonCode
from grandopt.workflows.building.built import BuiltCandidate
from grandopt.workflows.building.request import BuildStatus
from grandopt.workflows.workload import Workload

EAGER = Candidate("float32", EagerOptions())
SCRIPT = Candidate("float32", TorchScriptOptions())
PLAIN = Candidate("float32", TorchScriptOptions(optimize_for_inference=False))


CODES: dict[BuildStatus, ReasonCode] = {
    "refused": ReasonCode.ERROR_TOO_LARGE,
    "failed": ReasonCode.BUILD_FAILED,
    "unavailable": ReasonCode.ENGINE_MISSING,
    "not measured": ReasonCode.NOT_BUILT_IN_TIME,
}


MACHINE = MachineLimit(
    caches=(CacheSpeed("L1", 1000, 100.0, "v"), CacheSpeed("memory", None, 10.0, "v")),
    peaks=(Peak("float32", "v", 50.0), Peak("bfloat16", "v", 25.0), Peak("int8", "v", 100.0)),
)
WORK = Workload(parameters=1000, weight_bytes=4400, flop=2000, read_weights=1000, read_bytes=4000)
"""At float32 a call reads 1000 bytes in 10 ns and 3000 in 300 ns, and computes for 40 ns."""


def built(
    candidate: Candidate, status: BuildStatus = "verified", reason: str | None = None, threads: int = 1
) -> BuiltCandidate:
    """A candidate of a set, which was never built; one that is not verified has some reason."""
    why = None if status == "verified" else Reason(CODES[status], reason or status)
    return BuiltCandidate(candidate, threads, status, why)


def measurement(noise: float = 0.01, **microseconds: float) -> Measurement:
    """Subjects that took so many microseconds a call, up to a relative noise, in 3 processes of 20 rounds.

    Keywords are labels, with "__" for the slashes.
    """
    random = np.random.default_rng(0)

    def process(median_us: float) -> ProcessSamples:
        calls = 1e3 * median_us * (1 + noise * random.uniform(-1, 1, (20, 50)).mean(axis=1, keepdims=True))
        return ProcessSamples(
            call_ns=np.repeat(calls, 50, axis=1).astype(np.int64),
            block_ns=calls,
            block_calls=10,
            load_ns=1_000_000,
            first_call_ns=100_000,
            calls_to_stable=150,
            cpu_ns=int(1e3 * median_us * 1000),
            cpu_calls=1000,
            timer_overhead_ns=40.0,
        )

    subjects = tuple(
        SubjectSamples(label.replace("__", "/"), tuple(process(value) for _ in range(3)))
        for label, value in microseconds.items()
    )
    return Measurement(subjects, MeasurementSettings(), 256)
