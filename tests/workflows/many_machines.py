"""Builds one agent's candidates by one process, and by several that share a study and a store of builds.

`python -m tests.workflows.many_machines [MACHINES [CORES [AGENT [PROFILE [BUDGET]]]]]` prints the seconds. A
machine is a process with a state of its own, so many of the cores, and a name that the others cannot see
behind. Needs the programs of a PostgreSQL server.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.tuning.postgres import running_postgres
from tests.workflows.command import command

BUILT = "built "


@dataclass(frozen=True)
class Machine:
    """What became of one machine: the report that it wrote, and the seconds that its command took."""

    report: Mapping[str, Any]
    seconds: float

    @property
    def agent(self) -> Mapping[str, Any]:
        agent: Mapping[str, Any] = self.report["agents"][0]
        return agent

    @property
    def build_s(self) -> float:
        """How long its stage of building took, with waiting for others."""
        return float(self.agent["stages"]["build"])


def begin(
    folder: Path, store: Path, arguments: Sequence[str], cores: set[int] | None = None
) -> subprocess.Popen[str]:
    """A machine that tunes: its folder is its own, the store of builds is not."""
    (folder / ".grandopt").mkdir(parents=True)
    store.mkdir(exist_ok=True)
    (folder / ".grandopt" / "store").symlink_to(store)
    kept = os.sched_getaffinity(0)
    if cores is not None:
        os.sched_setaffinity(0, cores)  # which the process inherits
    try:
        return subprocess.Popen(
            command("tune", *arguments, "--json"), cwd=folder, text=True,
            env=os.environ | {"GRANDOPT_HOST": folder.name},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
    finally:
        os.sched_setaffinity(0, kept)


def ended(process: subprocess.Popen[str], began: float) -> Machine:
    """A machine's report, once it is done."""
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return Machine(json.loads(out), time.monotonic() - began)


def tuned(
    folder: Path, arguments: Sequence[str], machines: int, cores: Sequence[set[int] | None]
) -> list[Machine]:
    """So many machines at once, on the cores in turn, with one store."""
    began = time.monotonic()
    names = [folder / f"machine{number}" for number in range(machines)]
    processes = [
        begin(name, folder / "store", arguments, cores[number % len(cores)])
        for number, name in enumerate(names)
    ]
    return [ended(process, began) for process in processes]


def main(
    machines: str = "4",
    cores: str = "1",
    agent: str = "tactical_embedder",
    profile: str = "aggressive",
    budget: str = "300",
) -> None:
    """So many machines of so many cores each, or of all; prints what building took and what was found."""
    # For throughput all candidates are built: for latency, which ones depends on what else the cores do.
    words = (
        "--agent",
        agent,
        "--profile",
        profile,
        "--budget",
        budget,
        "--goal",
        "throughput",
        "--trials",
        "4",
    )
    granted = sorted(os.sched_getaffinity(0))
    count = int(cores)
    where = [set(granted[start : start + count]) for start in range(0, len(granted) - count + 1, count)]
    with TemporaryDirectory() as name, running_postgres() as postgres:
        storage = postgres.new_database("measured")
        found = tuned(Path(name), (*words, "--storage", storage), int(machines), where)
        built = ", ".join(f"{machine.build_s:.1f}" for machine in found)
        print(f"{machines} machines of {cores} cores: building {built} s")
        print(f"{max(machine.seconds for machine in found):.1f} s in all; {found[-1].agent['reason']}")


if __name__ == "__main__":
    main(*sys.argv[1:])
