"""Damaged files by the thousand: a reader reads one or raises a GrandoptError, soon and in little memory."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pytest

from tests.readers.seeds import READERS, Reader, whole

QUICK, MANY = 20, 2000
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


Server = subprocess.Popen[bytes]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """What forks the processes that read: it has imported once what all of them need."""
    command = [sys.executable, "-m", "tests.readers.child"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def run(server: Server, item: Reader, folder: Path, count: int, first: int = 0) -> Outcome:
    """Read `count` damaged files in a child, in another one after each that killed the last."""
    seed = folder / "seed"
    seed.write_bytes(whole(item, folder))
    outcome, last = Outcome(), first + count
    while first < last:
        job = {"reader": item.name, "seed": str(seed), "folder": str(folder), "first": first, "last": last}
        code, reached = _followed(server, job, outcome, first - 1)
        if code == 0:
            break
        complaint = (folder / "stderr").read_text(errors="replace")
        outcome.faults.append(f"{reached}: the process ended with {code}: {complaint[-300:]}")
        if reached < first:  # it did not even begin
            break
        first = reached + 1
    return outcome


def _followed(server: Server, job: dict[str, Any], outcome: Outcome, reached: int) -> tuple[int, int]:
    """The exit code of the process that does the job, and which file it reached."""
    assert server.stdin is not None
    assert server.stdout is not None
    pipe = Path(job["folder"]) / "lines"
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe)
    server.stdin.write(json.dumps({**job, "lines": str(pipe)}).encode() + b"\n")
    server.stdin.flush()
    pid = json.loads(server.stdout.readline())["pid"]
    lines: queue.Queue[bytes] = queue.Queue()
    with pipe.open("rb") as stream:
        reader = threading.Thread(target=_drain, args=(stream, lines), daemon=True)
        reader.start()
        while True:
            try:
                line = lines.get(timeout=STANDSTILL_S)
            except queue.Empty:
                os.kill(pid, signal.SIGKILL)
                break
            if not line:
                break
            if line.startswith(b'{"begins"'):
                reached = json.loads(line)["begins"]
            elif line.startswith(b'{"index"'):
                outcome.add(json.loads(line))
        reader.join(10)
    return json.loads(server.stdout.readline())["ended"], reached


def _drain(stream: IO[bytes], lines: queue.Queue[bytes]) -> None:
    for line in stream:
        lines.put(line)
    lines.put(b"")


LONGER = ("recurrent.onnx", "remembers.torchscript")


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(item, id=item.name, marks=[pytest.mark.slow] if item.name in LONGER else [])
        for item in READERS
    ],
)
def test_damaged_files_are_read_or_refused(server: Server, tmp_path: Path, item: Reader) -> None:
    outcome = run(server, item, tmp_path, QUICK)
    assert not outcome.faults, "\n".join(outcome.faults)


@pytest.mark.stress
@pytest.mark.parametrize("item", READERS, ids=lambda item: item.name)
def test_two_thousand_damaged_files_are_read_or_refused(server: Server, tmp_path: Path, item: Reader) -> None:
    outcome = run(server, item, tmp_path, MANY)
    print(f"{item.name}: {outcome.counts}, at most {outcome.slowest} s, {outcome.largest} MB")
    assert not outcome.faults, "\n".join(outcome.faults)
