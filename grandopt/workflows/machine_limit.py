"""This machine's limit: measured once for each machine and compiler, and kept in the store."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from grandopt.artifacts.fleet.parcel import packed, unpacked
from grandopt.artifacts.machine import architecture, cpu_features
from grandopt.artifacts.store import Store
from grandopt.compiler.backends.native.levels import IsaLevel
from grandopt.compiler.backends.native.speeds import compile_speeds, runnable_levels, speeds_source
from grandopt.compiler.backends.native.toolchain import Compiler, find_compiler
from grandopt.errors import ArtifactError, BuildError, EngineUnavailableError
from grandopt.measurement.environment import crowded, environment
from grandopt.measurement.limit import CacheSpeed, MachineLimit, blas_limit, kernel_limit
from grandopt.measurement.wire.kernels import KernelLibrary, Peak
from grandopt.reporting.machine_limit import below_limit, is_wrong
from grandopt.reporting.report import AgentReport
from grandopt.workflows.job import Run
from grandopt.workflows.memo.fingerprint import code_digest

FORGOTTEN = b""
"""In the place of a limit that was wrong."""

CODE = ("measurement/limit.py", "measurement/caches.py", "measurement/worker/kernels.py")


def machine_limit(store: Store, tell: Callable[[str], None]) -> MachineLimit:
    """The machine's limit by kernels of its C compiler; where there is none, by numpy's float32 BLAS, which
    `tell` is given a line about.

    What is measured while others crowd the machine is not kept. Raises MeasurementError when the process that
    measures fails, OutputError when the store cannot be written.
    """
    levels = runnable_levels(architecture(), cpu_features())
    try:
        if not levels:
            raise BuildError(f"this CPU ({architecture()}) has none of the feature levels")
        compiler = find_compiler()
        key = _key(compiler)
        note = store.note(key)
        if note not in (None, FORGOTTEN):
            return _read(note)
        found = _measured(store, compiler, levels)
    except (BuildError, EngineUnavailableError) as error:
        tell(f"the machine's limit is what numpy's float32 BLAS reaches, which an engine can pass: {error}")
        return blas_limit()
    if not crowded(1):
        store.put_note(key, json.dumps(asdict(found)).encode())
    return found


def limit_of_run(run: Run) -> MachineLimit:
    """The same, from the store of a run and told to its listener."""
    return machine_limit(run.store, lambda line: run.tell("", "machine", line, level="warning"))


def tell_below_limit(run: Run, report: AgentReport) -> None:
    """Say what was measured faster than the machine's limit allows. A kept limit that is so shown to be wrong
    is not used again: the next run measures it anew."""
    for line in below_limit(report):
        run.tell(report.name, "measure", line, level="warning")
    if is_wrong(report):
        run.store.put_note(_key(find_compiler()), FORGOTTEN)


def _measured(store: Store, compiler: Compiler, levels: Sequence[IsaLevel]) -> MachineLimit:
    with tempfile.TemporaryDirectory(prefix="grandopt-") as folder:
        compiled = _compiled(store, compiler, levels, Path(folder))
        lengths = {level.lanes: level for level in reversed(compiled)}  # of each length the plainest
        libraries = [
            KernelLibrary(level.name, path, reads=lengths[level.lanes] is level)
            for level, path in compiled.items()
        ]
        return kernel_limit(libraries)


def _compiled(
    store: Store, compiler: Compiler, levels: Sequence[IsaLevel], folder: Path
) -> dict[IsaLevel, Path]:
    """A library of the kernels for each level, from the fleet's store where another machine compiled them."""
    key = _kernels_key(compiler, levels)
    libraries = _told_kernels(store, key)
    if libraries is None:
        found = compile_speeds(compiler, levels, folder)
        kernels = {level.name: path.read_bytes() for level, path in found.items()}
        store.put_note(key, packed(kernels), shared=True)
        return found
    known = {level: folder / f"{level.name}.so" for level in levels if level.name in libraries}
    for level, path in known.items():
        path.write_bytes(libraries[level.name])
    return known


def _told_kernels(store: Store, key: str) -> dict[str, bytes] | None:
    note = store.note(key, shared=True)
    try:
        return None if note is None else unpacked(note)
    except ArtifactError:  # another machine's, which is none
        return None


def _kernels_key(compiler: Compiler, levels: Sequence[IsaLevel]) -> str:
    text = hashlib.sha256(speeds_source().encode()).hexdigest()
    names = [level.name for level in levels]
    parts = ["kernels of the limit", text, compiler.command, compiler.version, architecture(), names]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _read(note: bytes) -> MachineLimit:
    data = json.loads(note)
    return MachineLimit(
        tuple(CacheSpeed(**item) for item in data["caches"]),
        tuple(Peak(**item) for item in data["peaks"]),
        data["source"],
    )


def _key(compiler: Compiler) -> str:
    text = hashlib.sha256(speeds_source().encode()).hexdigest()
    parts = ["limit", text, compiler.command, compiler.version, environment().identity, code_digest(CODE)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
