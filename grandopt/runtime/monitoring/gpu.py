"""What the GPUs of this machine are doing, where there are some and something can ask them."""

from __future__ import annotations

import csv
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

SMI = "nvidia-smi"
QUERY = "index,name,utilization.gpu,memory.used,memory.total"
MIB = 1 << 20
TIMEOUT_S = 5.0
EVERY_S = 5.0
"""The program takes some hundredths of a second, so it is asked no more often."""


@dataclass(frozen=True)
class GpuReading:
    """One GPU: the share of the last moments in which a kernel ran, and its memory in bytes; None where the
    driver does not tell."""

    index: int
    name: str
    busy: float | None
    memory_used: int | None
    memory_total: int | None


GpuReader = Callable[[], tuple[GpuReading, ...]]


def gpu_reader(*, clock: Callable[[], float] = time.monotonic) -> GpuReader | None:
    """A reader of all NVIDIA GPUs through the driver's own program; None without one that answers.

    The reader gives what it found in the last EVERY_S seconds, and nothing once the driver stops answering.
    """
    program = shutil.which(SMI)
    if program is None or not _ask(program):
        return None
    last: list[tuple[float, tuple[GpuReading, ...]]] = []

    def read() -> tuple[GpuReading, ...]:
        if not last or clock() - last[0][0] >= EVERY_S:
            last[:] = [(clock(), _ask(program))]
        return last[0][1]

    return read


def _ask(program: str) -> tuple[GpuReading, ...]:
    command = [program, f"--query-gpu={QUERY}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ()  # no driver, or it does not answer: there is no GPU to tell of
    return readings(done.stdout)


def readings(table: str) -> tuple[GpuReading, ...]:
    """What the program printed; lines of another form are left out."""
    found = []
    for words in csv.reader(table.splitlines(), skipinitialspace=True):
        if len(words) != QUERY.count(",") + 1 or not words[0].strip().isdigit():
            continue
        busy, used, total = (_number(word) for word in words[2:])
        found.append(
            GpuReading(
                int(words[0]),
                words[1].strip(),
                None if busy is None else busy / 100,
                None if used is None else int(used * MIB),
                None if total is None else int(total * MIB),
            )
        )
    return tuple(found)


def _number(word: str) -> float | None:
    """A number, or None for the "[N/A]" of a driver that does not tell (with MIG, for one)."""
    try:
        return float(word)
    except ValueError:
        return None
