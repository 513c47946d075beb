"""Small networks from Python: `python -m tests.native.small_networks [--network NAME]… [OPTION…]`.

The fully connected networks of `c_level` through `grandopt benchmark`: every engine and every rival through
its fastest call, in one run and in turns, at every precision that verification admits on recorded
observations. All further options are those of `grandopt benchmark`, such as
`--rival litert=litert/bin/python`. Printed are the medians of the native engine at float32 and at its best,
and how many times as long the fastest other takes.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.native.c_level.networks import NETWORKS
from tests.native.recorded import write_job

NAMES = tuple(name for name, network in NETWORKS.items() if len(network.shape) == 1)
LARGE = "wide"
"""The one that is no part of the means: its weights alone take longer to read than others to compute."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.native.small_networks", allow_abbrev=False)
    parser.add_argument("--output", type=Path, help="keeps builds, and the report, there")
    parser.add_argument("--network", action="append", choices=NAMES, help="only this one; may be repeated")
    given, options = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.output or Path(temporary)
        config = write_job(folder, {name: name for name in given.network or NAMES})
        command = [sys.executable, "-m", "grandopt", "benchmark", "--config", str(config)]
        command += ["--output", str(folder), "--batch", "1", "--json", *options]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if not done.stdout:
            return done.returncode
        if given.output is not None:
            (folder / "report.json").write_text(done.stdout)
    print("\n".join(table(json.loads(done.stdout)["agents"])))
    return done.returncode


def table(agents: Iterable[Mapping[str, Any]]) -> list[str]:
    """A line for each agent of a report at float32 and at any precision, then the means of all but LARGE."""
    lines: list[str] = []
    factors: dict[str, list[float]] = {}
    for agent in agents:
        medians = {row["label"]: row["figures"]["p50_us"] for row in agent["candidates"] if row["figures"]}
        medians["original"] = agent["original"]["p50_us"]
        for lead in agent["leads"]:
            ours, other, factor = lead["label"], lead["rival_label"], lead["ratio"]["value"]
            lines.append(
                f"{agent['name']}, {lead['precision']}: {ours} {medians[ours]:.3f} µs, "
                f"{other} {medians[other]:.3f} µs: {factor:.2f}×"
            )
            if agent["name"] != LARGE:
                factors.setdefault(lead["precision"], []).append(factor)
    for precision, values in factors.items():
        mean = math.exp(sum(map(math.log, values)) / len(values))
        lines.append(
            f"{precision}: geometric mean of {len(values)} {mean:.2f}, least {min(values):.2f} "
            f"(without {LARGE})"
        )
    return lines


if __name__ == "__main__":
    sys.exit(main())
