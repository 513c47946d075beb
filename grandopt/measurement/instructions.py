"""Instructions per call, counted by perf or valgrind: a second opinion that a busy machine does not disturb.

perf counts in the processor, where the system lets it; valgrind emulates one. Fewer instructions are not
always less time, so this is beside the measurement and not in its place.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from grandopt.artifacts.artifact import Artifact, read, write
from grandopt.artifacts.machine import by_demand
from grandopt.errors import ArtifactError
from grandopt.measurement.process.worker_process import DEFAULT_LOADER, THREAD_VARIABLES
from grandopt.measurement.subject import Subject
from grandopt.measurement.wire.arrays import save_inputs
from grandopt.measurement.wire.codec import request_line
from grandopt.measurement.wire.instructions import COUNTED_FUNCTION, CountCalls
from grandopt.signature import Array

CALLS = 256
TIMEOUT_S = 300.0
"""For one artifact; valgrind is about fifty times slower than the processor."""

PROBE_S = 60.0

BEYOND_VALGRIND = ("avx512", "amx", "avx_vnni")
"""Beginnings of CPU features that valgrind does not emulate."""

_EVENT = "instructions:u"
_COLLECTED = re.compile(rb"Collected : (\d+)")


@dataclass(frozen=True)
class Count:
    """Instructions of one call, in user space, with the tool that counted them.

    `calls` is None where they could not be counted, with the `reason`. `note` says in what the counted code
    differs from what is measured.
    """

    calls: float | None
    tool: str | None = None
    note: str | None = None
    reason: str | None = None


def count_instructions(subject: Subject, ring: Sequence[Array], loader: str = DEFAULT_LOADER) -> Count:
    """Count with perf where it works, else with valgrind, else say what is missing."""
    if _perf_works():
        return _with_perf(subject, ring, loader)
    if shutil.which("valgrind") is None:
        return Count(None, reason="neither perf nor valgrind can count here; install valgrind")
    return _with_valgrind(subject, ring, loader)


def _perf_works() -> bool:
    """Whether perf is there and may use the processor's counters; in many virtual machines it may not."""
    if shutil.which("perf") is None:
        return False
    command = ["perf", "stat", "-x", ",", "-e", _EVENT, "true"]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=PROBE_S)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and _perf_count(done.stderr) is not None


def _perf_count(text: bytes) -> int | None:
    """The count in perf's comma-separated output; None where it says "<not supported>"."""
    for line in text.splitlines():
        fields = line.split(b",")
        if len(fields) > 2 and fields[2].startswith(b"instructions") and fields[0].isdigit():
            return int(fields[0])
    return None


def _with_perf(subject: Subject, ring: Sequence[Array], loader: str) -> Count:
    with tempfile.TemporaryDirectory(prefix="grandopt-") as name:
        folder = Path(name)
        pipes = folder / "control", folder / "reply"
        for pipe in pipes:
            os.mkfifo(pipe)
        request = _request(folder, subject, ring, loader, pipes)
        control = f"fifo:{pipes[0]},{pipes[1]}"
        done = _run(
            ["perf", "stat", "-x", ",", "-e", _EVENT, "--delay=-1", "--control", control, "--"], request
        )
        total = None if done is None else _perf_count(done.stderr)
    return _count(total, "perf", done)


def _with_valgrind(subject: Subject, ring: Sequence[Array], loader: str) -> Count:
    with tempfile.TemporaryDirectory(prefix="grandopt-") as name:
        folder = Path(name)
        try:
            path, note = _emulated(subject.path, folder / "artifact")
        except ArtifactError as error:
            return Count(None, reason=str(error))
        request = _request(folder, replace(subject, path=path), ring, loader, None)
        command = [
            "valgrind",
            "--tool=callgrind",
            "--collect-atstart=no",
            f"--toggle-collect={COUNTED_FUNCTION}",
            "--callgrind-out-file=/dev/null",
        ]
        done = _run(command, request)
        found = None if done is None else _COLLECTED.search(done.stderr)
    total = int(found.group(1)) if found and int(found.group(1)) > 0 else None
    return replace(_count(total, "valgrind", done), note=note if total else None)


def _emulated(path: Path, folder: Path) -> tuple[Path, str | None]:
    """The artifact as valgrind can run it: a native one without the levels that it does not emulate.

    Raises ArtifactError for one that has no other.
    """
    if not (path / "manifest.json").is_file():  # a loader of its own opens it
        return path, None
    artifact: Artifact = read(path)
    manifest = artifact.manifest
    levels: dict[str, list[str]] = manifest.options.get("levels", {})
    kept = {
        level: features
        for level, features in levels.items()
        if not any(feature.startswith(BEYOND_VALGRIND) for feature in features)
    }
    if len(kept) == len(levels):
        return path, None
    if not kept:
        raise ArtifactError(
            f"valgrind cannot run what was built for {', '.join(levels)}, and perf is not there"
        )
    options = {**manifest.options, "levels": kept}
    written = write(folder, replace(manifest, options=options), artifact.payloads())
    return written.path, f"counted at the level {by_demand(kept)[0]}, because valgrind does not emulate more"


def _request(
    folder: Path, subject: Subject, ring: Sequence[Array], loader: str, pipes: tuple[Path, Path] | None
) -> Path:
    """The file of the request."""
    file = folder / "request.json"
    inputs = save_inputs(ring, folder)
    file.write_bytes(request_line(CountCalls(subject.loadable(loader), inputs, 1, CALLS, pipes)))
    return file


def _run(prefix: Sequence[str], request: Path) -> subprocess.CompletedProcess[bytes] | None:
    """The counted program under a tool, with all that it may depend on fixed; None when it takes too long."""
    environment = {
        **os.environ,
        **dict.fromkeys(THREAD_VARIABLES, "1"),
        "PYTHONPATH": os.pathsep.join(str(Path(entry).absolute()) for entry in [*sys.path, ""]),
        "PYTHONHASHSEED": "0",
    }
    command = [*prefix, sys.executable, "-P", "-m", "grandopt.measurement.worker.instructions", str(request)]
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        stdout, stderr = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def _count(total: int | None, tool: str, done: subprocess.CompletedProcess[bytes] | None) -> Count:
    if done is None:
        return Count(None, tool, reason=f"{tool} did not count it within {TIMEOUT_S:g} s")
    if done.returncode != 0 or total is None:
        lines = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
        said = f": {lines[-1].strip()}" if lines else ""
        return Count(None, tool, reason=f"{tool} could not count it (exit code {done.returncode}){said}")
    return Count(total / CALLS, tool)
