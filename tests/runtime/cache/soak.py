"""The cache at full speed for minutes, through what goes wrong in production.

    python -m tests.runtime.cache.soak --minutes 10

Two processes of four threads each share a folder and a real redis-server. Meanwhile one process is killed
with SIGKILL and another takes its place, the server is killed and started again, the disk is full for a
while, new versions are deployed and callers are cancelled. Every value found is checked. Exit code 1: a wrong
or expired value, memory that grows by 1 MB/min or more, fewer look-ups than --lookups, or a process that
ended by itself.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from grandopt.runtime.cache.levels.disk import DiskLevel
from tests.runtime.cache.server import RedisServer
from tests.runtime.cache.soak_worker import FIELDS, THREADS, work

PROCESSES = 2
DISK_MB = 96
"""Size of the file system that is filled up, where one can be mounted."""
WARM_S = 90.0
"""Of a long run; a short one is warm after a third. Memory is judged from then on."""
DEPLOYMENTS = 20
END_S = 60.0


@dataclass
class Outcome:
    """What a run has counted, and resident memory by process: seconds since its start, and MB."""

    counts: dict[str, int]
    seconds: float
    exits: list[int | None]
    full_by: str
    findings: list[str]
    memory: dict[int, list[tuple[float, float]]] = field(default_factory=dict)

    def slopes(self, warm: float) -> dict[int, float]:
        """MB per minute of each process that was there for twice `warm` seconds, from `warm` on."""
        slopes = {}
        for pid, samples in self.memory.items():
            later = np.array([sample for sample in samples if sample[0] >= warm])
            if len(later) > 2 and later[-1, 0] >= 2 * warm:
                slopes[pid] = 60 * float(np.polyfit(later[:, 0], later[:, 1], 1)[0])
        return slopes


class Soak:
    """The processes of a run, and what is done to them."""

    def __init__(self, folder: Path, server: RedisServer, mounted: bool) -> None:
        self._folder, self._server, self._mounted = folder, server, mounted
        self._context = multiprocessing.get_context("spawn")
        rows = (PROCESSES + 1) * THREADS
        self._board = self._context.Array("q", rows * len(FIELDS), lock=False)
        self._version = self._context.Value("q", 0, lock=False)
        self._stopping = self._context.Value("b", 0, lock=False)
        self._processes: list[Any] = []
        self._memory: dict[int, list[tuple[float, float]]] = {}
        self._killed: int | None = None

    def run(self, seconds: float) -> Outcome:
        """A whole run."""
        for _ in range(PROCESSES):
            self._start()
        start = time.monotonic()
        for share, event in self._events():
            self._watch(start + share * seconds)
            event()
        self._watch(start + seconds)
        self._stopping.value = 1
        for process in self._processes:
            process.join(END_S)
        exits = [process.exitcode for process in self._processes if process.pid != self._killed]
        for process in self._processes:
            process.kill()
        with_disk = DiskLevel(self._folder / "cache")
        findings = with_disk.check()
        with_disk.close()
        table = np.frombuffer(self._board, np.int64).reshape(-1, len(FIELDS)).sum(axis=0)
        counts = dict(zip(FIELDS, map(int, table), strict=True))
        full_by = "file system" if self._mounted else "RLIMIT_FSIZE"
        return Outcome(counts, time.monotonic() - start, exits, full_by, findings, self._memory)

    def _events(self) -> list[tuple[float, Callable[[], None]]]:
        deployments = [(share / DEPLOYMENTS, self._deploy) for share in range(1, DEPLOYMENTS)]
        return sorted(
            [
                *deployments,
                (0.22, self._server.stop),
                (0.27, self._server.start),
                (0.37, self._kill),
                (0.38, self._start),
                (0.52, self._fill),
                (0.62, self._free),
                (0.72, self._server.stop),
                (0.721, self._server.start),
            ],
            key=lambda event: event[0],
        )

    def _start(self) -> None:
        process = self._context.Process(
            target=work,
            args=(
                str(self._folder / "cache"),
                self._server.url,
                self._board,
                self._version,
                self._stopping,
                THREADS * len(self._processes),
            ),
        )
        process.start()
        self._processes.append(process)

    def _deploy(self) -> None:
        self._version.value += 1

    def _kill(self) -> None:
        self._killed = self._processes[0].pid
        os.kill(self._processes[0].pid, signal.SIGKILL)

    def _fill(self) -> None:
        if not self._mounted:
            self._limit_files(4096)
            return
        with (self._folder / "filler").open("wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(1 << 16))
            except OSError:
                return

    def _free(self) -> None:
        if not self._mounted:
            self._limit_files(resource.RLIM_INFINITY)
            return
        (self._folder / "filler").unlink()

    def _limit_files(self, size: int) -> None:
        for process in self._processes:
            if process.is_alive():
                hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)[1]
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, hard))

    def _watch(self, until: float) -> None:
        """Wait, and write down the memory of all processes meanwhile."""
        while time.monotonic() < until:
            time.sleep(min(0.5, max(0.0, until - time.monotonic())))
            for process in self._processes:
                if not process.is_alive():
                    continue
                try:
                    known = psutil.Process(process.pid)
                    age, size = time.time() - known.create_time(), known.memory_info().rss / 1e6
                except psutil.NoSuchProcess:  # it is the one that was just killed
                    continue
                self._memory.setdefault(process.pid, []).append((age, size))


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """`folder` as a file system of DISK_MB; False where this user cannot mount one."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)]
    mounted = (
        shutil.which("mount") is not None
        and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=False)


def soak(seconds: float) -> Outcome:
    """A run in folders of its own. Raises RuntimeError without a redis-server."""
    program = shutil.which("redis-server")
    if program is None:
        raise RuntimeError("redis-server not found; install it first")
    with tempfile.TemporaryDirectory() as place:
        folder, disk = Path(place), Path(place) / "disk"
        disk.mkdir()
        server = RedisServer(program, folder)
        server.start()
        try:
            with small_disk(disk) as mounted:
                return Soak(disk, server, mounted).run(seconds)
        finally:
            server.stop()


def complaints(outcome: Outcome, lookups: int, warm: float) -> list[str]:
    """What must not be."""
    found = [f"{outcome.counts[name]} {name} values" for name in ("wrong", "expired") if outcome.counts[name]]
    if outcome.counts["crashed"]:
        found.append(f"{outcome.counts['crashed']} threads ended with an exception")
    if outcome.counts["lookups"] < lookups:
        found.append(f"{outcome.counts['lookups']} checked look-ups, fewer than {lookups}")
    if any(outcome.exits):
        found.append(f"processes ended with {outcome.exits}")
    grown = [slope for slope in outcome.slopes(warm).values() if slope >= 1]
    if grown:
        found.append(f"memory grows by {max(grown):.2f} MB/min")
    return found


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--lookups", type=int, default=10_000_000, help="checked look-ups, at least")
    options = parser.parse_args()
    seconds = 60 * options.minutes
    warm = min(WARM_S, seconds / 3)
    outcome = soak(seconds)
    print(f"{outcome.seconds:.0f} s, the disk was full by {outcome.full_by}")
    for name, count in outcome.counts.items():
        print(f"{name:10} {count:>12,}")
    for pid, samples in outcome.memory.items():
        slope = outcome.slopes(warm).get(pid)
        shown = "too short to judge" if slope is None else f"{slope:+.3f} MB/min"
        every = max(1, len(samples) // 12)
        curve = " ".join(f"{size:.0f}" for _, size in samples[::every])
        print(f"process {pid}: {samples[0][1]:.1f} MB at first, {samples[-1][1]:.1f} MB at last, {shown}")
        print(f"  MB in equal steps of time: {curve}")
    print(f"check of the folder afterwards: {len(outcome.findings)} findings")
    bad = complaints(outcome, options.lookups, warm)
    print("\n".join(bad) or "passed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
