"""Builds one agent's candidates by one process, and by several that share a study and a store of builds.

`python -m tests.workflows.many_machines [MACHINES [CORES [AGENT [PROFILE [BUDGET]]]]]` prints the seconds of
building of one process that has all cores of this computer, of one that has CORES of them ("all" for all), as
one machine has, and of MACHINES processes of CORES cores each; and two ratios of the slowest of these:

- to the one process with all cores: what it costs to share the work by a storage and a store;
- to the one process with CORES cores: what more machines like it gain. Where this computer has fewer cores
  than MACHINES times CORES, they take turns on them: two cores gain one half at best.

A "machine" is a process with a state of its own, and a name that the others cannot see behind. Needs the
programs of a PostgreSQL server.
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
    cores: str = "all",
    agent: str = "tactical_embedder",
    profile: str = "aggressive",
    budget: str = "300",
) -> None:
    """One process of all cores, and so many machines; prints what building took, and what was found."""
    # For throughput all candidates are built: for latency, which ones depends on what else the cores do.
    wanted = ("--agent", agent, "--profile", profile, "--budget", budget, "--goal", "throughput")
    words = (*wanted, "--trials", "4")
    granted = sorted(os.sched_getaffinity(0))
    count = len(granted) if cores == "all" else int(cores)
    where = [set(granted[start : start + count]) for start in range(0, len(granted) - count + 1, count)]
    runs = {"whole": (1, [set(granted)]), "one": (1, where[:1]), "many": (int(machines), where)}
    with TemporaryDirectory() as name, running_postgres() as postgres:
        seconds = {
            kind: _told(Path(name, kind), (*words, "--storage", postgres.new_database(kind)), number, places)
            for kind, (number, places) in runs.items()
        }
    used = sum(len(place) for place in where[: int(machines)])
    print(
        f"{seconds['many'] / seconds['whole']:.2f} of the time of one process with all {len(granted)} cores"
    )
    print(
        f"{seconds['many'] / seconds['one']:.2f} of the time of one machine with {_cores(count)} "
        f"({machines} of them have {_cores(used)} together)"
    )


def _told(folder: Path, arguments: Sequence[str], machines: int, cores: Sequence[set[int] | None]) -> float:
    """Print what machines found; the seconds that building took the slowest."""
    folder.mkdir()
    found = tuned(folder, arguments, machines, cores)
    built = ", ".join(f"{machine.build_s:.1f}" for machine in found)
    have = _cores(len(cores[0] or ())) + " each" * (machines > 1)
    print(f"{machines} process{'es' * (machines > 1)} of {have}: building {built} s")
    print(
        f"{max(machine.seconds for machine in found):.1f} s in all; {found[-1].agent['reason']}", flush=True
    )
    return max(machine.build_s for machine in found)


def _cores(count: int) -> str:
    return f"{count} core{'s' * (count > 1)}"


if __name__ == "__main__":
    main(*sys.argv[1:])
