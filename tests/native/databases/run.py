"""All samples of a database in child processes, so that what crashes costs one network."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path

from tests.native.databases.worker import Job, Row

CHUNK = 40
"""Kinds per child process."""
PATIENCE_S = 1200.0
"""For a chunk: one that takes longer hangs."""


def shuffled(kinds: Sequence[str]) -> list[str]:
    """In an order that has nothing to do with what they are, and is the same everywhere."""
    return sorted(kinds, key=lambda kind: sha256(kind.encode()).digest())


def run(job: Job, processes: int, counted: int | None = None) -> list[Row]:
    """The rows of a job. With `counted`, only so many kinds that are networks, the first ones."""
    chunks = [job.kinds[start : start + CHUNK] for start in range(0, len(job.kinds), CHUNK)]
    found: list[Row] = []
    with ThreadPoolExecutor(max_workers=processes) as pool:
        for start in range(0, len(chunks), processes):
            parts = chunks[start : start + processes]
            jobs = [replace(job, kinds=tuple(part)) for part in parts]
            found += [row for rows in pool.map(lambda one: list(_chunk(one)), jobs) for row in rows]
            if counted is not None and len(networks(found)) >= counted:
                break
    kept = set(networks(found)[:counted])
    return [row for row in found if row.kind in kept or not _is_network(row)]


def networks(rows: Sequence[Row]) -> list[str]:
    """The kinds with at least one sample that is a network, in order."""
    return list(dict.fromkeys(row.kind for row in rows if _is_network(row)))


def _is_network(row: Row) -> bool:
    return row.ending != "excluded"


def _cause(errors: str) -> str:
    """The last line that names an error, for which torch may need a screen."""
    named = [line for line in errors.splitlines() if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return named[-1][:300] if named else errors.strip()[-300:]


def _chunk(job: Job) -> Iterator[Row]:
    """The rows of a chunk; a new process goes on behind the sample at which one died."""
    left: Job | None = job
    while left is not None:
        with tempfile.TemporaryDirectory(prefix="databases-") as folder:
            results = Path(folder) / "results"
            command = [sys.executable, "-m", "tests.native.databases.worker", json.dumps(asdict(left))]
            try:
                done = subprocess.run(
                    [*command, str(results)], capture_output=True, text=True, timeout=PATIENCE_S, check=False
                )
                ending = f"ended with {done.returncode}: {_cause(done.stderr)}"
            except subprocess.TimeoutExpired:
                ending = f"took longer than {PATIENCE_S:.0f} s"
            lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
        told = [json.loads(line) for line in lines]
        yield from (Row(*line) for line in told if len(line) == 4)
        if not told or (not ending.startswith("ended with 0") and len(told[-1]) == 4):
            raise RuntimeError(f"the child process did not try all it was given: it {ending}")
        left = None
        if len(told[-1]) == 2:
            kind, number = told[-1]
            yield Row(kind, number, "crashed", ending)
            left = replace(job, kinds=job.kinds[job.kinds.index(kind) :], skip=number + 1)
