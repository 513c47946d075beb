"""Damaged files by the thousand: a reader reads one or raises a GrandoptError, soon and in little memory."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pytest

from tests.readers.seeds import READERS, Reader, whole

QUICK, MANY = 60, 2000
SECONDS, MEGABYTES = 10.0, 500
STANDSTILL_S = 300
"""Wall time, on a machine that is busy with other things."""


@dataclass
class Outcome:
    """What became of the damaged files of one reader."""

    counts: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    slowest: float = 0.0
    largest: int = 0

    def add(self, facts: dict[str, Any]) -> None:
        """One file that was read to an end."""
        self.counts[facts["outcome"]] = self.counts.get(facts["outcome"], 0) + 1
        self.slowest = max(self.slowest, facts["seconds"])
        self.largest = max(self.largest, facts["mb"])
        wrong = facts["outcome"] == "raised" or facts["lines"] > 1
        if wrong or facts["seconds"] > SECONDS or facts["mb"] > MEGABYTES:
            self.faults.append(f"{facts['index']}: {facts}")


def run(item: Reader, folder: Path, count: int, first: int = 0) -> Outcome:
    """Read `count` damaged files in a child, in another one after each that killed the last."""
    seed = folder / "seed"
    seed.write_bytes(whole(item, folder))
    outcome, last = Outcome(), first + count
    while first < last:
        words = ["-m", "tests.readers.child", item.name, str(seed), str(folder), str(first), str(last)]
        process = subprocess.Popen(
            [sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ)
        )
        reached, complaint = _followed(process, outcome, first - 1)
        if process.returncode == 0:
            break
        outcome.faults.append(f"{reached}: the process ended with {process.returncode}: {complaint[-300:]}")
        if reached < first:  # it did not even begin
            break
        first = reached + 1
    return outcome


def _followed(process: subprocess.Popen[bytes], outcome: Outcome, reached: int) -> tuple[int, str]:
    assert process.stdout is not None
    assert process.stderr is not None
    lines: queue.Queue[bytes] = queue.Queue()
    errors: list[bytes] = []
    readers = [
        threading.Thread(target=_drain, args=(process.stdout, lines), daemon=True),
        threading.Thread(
            target=lambda stream: errors.append(stream.read()), args=(process.stderr,), daemon=True
        ),
    ]
    for reader in readers:
        reader.start()
    while True:
        try:
            line = lines.get(timeout=STANDSTILL_S)
        except queue.Empty:
            process.kill()
            break
        if not line:
            break
        if line.startswith(b'{"begins"'):
            reached = json.loads(line)["begins"]
        elif line.startswith(b'{"index"'):
            outcome.add(json.loads(line))
    process.wait()
    for reader in readers:
        reader.join(10)
    process.stdout.close()
    process.stderr.close()
    return reached, b"".join(errors).decode(errors="replace")


def _drain(stream: IO[bytes], lines: queue.Queue[bytes]) -> None:
    for line in stream:
        lines.put(line)
    lines.put(b"")


def _collect(stream: IO[bytes], pieces: list[bytes]) -> None:
    pieces.append(stream.read())


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(item, id=item.name, marks=[pytest.mark.slow] if item.name == "recurrent.onnx" else [])
        for item in READERS
    ],
)
def test_damaged_files_are_read_or_refused(tmp_path: Path, item: Reader) -> None:
    outcome = run(item, tmp_path, QUICK)
    assert not outcome.faults, "\n".join(outcome.faults)


@pytest.mark.stress
@pytest.mark.parametrize("item", READERS, ids=lambda item: item.name)
def test_two_thousand_damaged_files_are_read_or_refused(tmp_path: Path, item: Reader) -> None:
    outcome = run(item, tmp_path, MANY)
    print(f"{item.name}: {outcome.counts}, at most {outcome.slowest} s, {outcome.largest} MB")
    assert not outcome.faults, "\n".join(outcome.faults)
