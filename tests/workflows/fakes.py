"""Measurements and entries with known figures, made of the real classes."""

from __future__ import annotations

import numpy as np

from grandopt.compiler.build import Candidate
from grandopt.config.schema import EagerOptions, TorchScriptOptions
from grandopt.measurement.result import Measurement, ProcessSamples, SubjectSamples
from grandopt.measurement.settings import Settings
from grandopt.workflows.entry import Entry, EntryStatus

EAGER = Candidate("float32", EagerOptions())
SCRIPT = Candidate("float32", TorchScriptOptions())
PLAIN = Candidate("float32", TorchScriptOptions(optimize_for_inference=False))


def entry(
    candidate: Candidate, status: EntryStatus = "verified", reason: str | None = None, threads: int = 1
) -> Entry:
    """A candidate in a contest, which was never built."""
    return Entry(candidate, threads, status, reason)


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
    return Measurement(subjects, Settings(), 256)
