"""A cold start: what it costs a fresh process to load an agent and call it once."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from grandopt.errors import MeasurementError
from grandopt.measurement.process.worker_process import DEFAULT_LOADER, WorkerProcess
from grandopt.measurement.subject import Subject
from grandopt.measurement.wire.arrays import save_inputs
from grandopt.measurement.wire.cold import StartCold
from grandopt.signature import Array

TIMEOUT_S = 120.0


@dataclass(frozen=True)
class ColdStart:
    """`load_ms`: opening the artifact, with all imports that this takes. `first_call_ms`: the first call.
    `process_ms`: from the start of the process to its first result, the interpreter's own start and the
    way back to the parent included. `resident_mb`: resident set after the first call, in MB (10^6 bytes).
    `artifact_bytes`: size on disk, without the program that an artifact carries for exports."""

    load_ms: float
    first_call_ms: float
    process_ms: float
    resident_mb: float
    artifact_bytes: int


def cold_start(
    subject: Subject,
    inputs: Sequence[Array],
    threads: int = 1,
    *,
    loader: str = DEFAULT_LOADER,
    timeout_s: float = TIMEOUT_S,
) -> ColdStart:
    """Start a process, load the subject and call it once with `inputs`, one array [B, *shape] per input.

    The operating system's file cache is as warm as it happens to be. Raises MeasurementError when the
    subject cannot be loaded or called, or when that takes longer than `timeout_s` seconds.
    """
    with tempfile.TemporaryDirectory(prefix="grandopt-") as folder:
        request = StartCold(subject.loadable(loader), save_inputs(inputs, Path(folder)), threads)
        start = time.perf_counter_ns()
        worker = WorkerProcess(threads)
        try:
            answer = worker.ask(request, timeout_s)
            process_ns = time.perf_counter_ns() - start
        except MeasurementError as error:
            raise MeasurementError(f"starting {subject.label}: {error}") from error
        finally:
            worker.close()
    return ColdStart(
        load_ms=answer.load_ns / 1e6,
        first_call_ms=answer.first_call_ns / 1e6,
        process_ms=process_ns / 1e6,
        resident_mb=answer.resident_bytes / 1e6,
        artifact_bytes=subject.artifact_bytes,
    )
