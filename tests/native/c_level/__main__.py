"""The table, on one thread: `python -m tests.native.c_level [--best] [--generator PATH] [NETWORK…]`."""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from pathlib import Path

from tests.native.c_level.compare import compare, missing
from tests.native.c_level.networks import NETWORKS

LARGEST_ERROR = 1e-4
"""Of the output's scale: beyond it a library answers something else, and is not timed."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.native.c_level")
    parser.add_argument("networks", nargs="*", choices=[*NETWORKS, []], metavar="NETWORK")
    parser.add_argument("--generator", type=Path, help="the program emx-onnx-cgen of its environment")
    parser.add_argument("--best", action="store_true", help="ours at the best precision that is admitted")
    parser.add_argument("--rounds", type=int, default=200, help="turns of 2 ms per library")
    given = parser.parse_args()
    lacks = missing()
    if lacks or (given.generator and not given.generator.is_file()):
        print(lacks or f"--generator {given.generator}: there is no such file", file=sys.stderr)
        return 2
    ratios: dict[str, list[float]] = {}
    for name in given.networks or NETWORKS:
        with tempfile.TemporaryDirectory() as folder:
            found = compare(
                name, Path(folder), rounds=given.rounds, generator=given.generator, best=given.best
            )
        ours = found.microseconds["grandopt"]
        cells = []
        for library, time in found.microseconds.items():
            verified = library == "grandopt" and given.best  # by the profile's limits
            if found.errors[library] > LARGEST_ERROR and not verified:
                cells.append(f"{library} differs by {found.errors[library]:.2g} of the output's scale")
                continue
            cells.append(f"{library} {time:.3f} µs")
            if library != "grandopt":
                cells[-1] += f" ({time / ours:.2f}×)"
                ratios.setdefault(library, []).append(time / ours)
        cells += ["the generator does not take it"] if found.refused else []
        print(f"{name}: ours of {found.precision}, {', '.join(cells)}", flush=True)
    for library, values in ratios.items():
        mean = math.exp(sum(map(math.log, values)) / len(values))
        print(f"geometric mean of {len(values)}: {library} takes {mean:.2f} times as long as grandopt")
    return 0


if __name__ == "__main__":
    sys.exit(main())
