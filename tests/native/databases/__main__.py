"""`python -m tests.native.databases [module|operator] [--most N] [--counted N] [--processes N] [KIND…]`."""

from __future__ import annotations

import argparse

from tests.native.databases.kinds import kinds
from tests.native.databases.run import run, shuffled
from tests.native.databases.table import Table
from tests.native.databases.worker import Job


def main() -> None:
    """Print the table of a database."""
    parser = argparse.ArgumentParser(description="PyTorch's databases on the native engine")
    parser.add_argument("database", choices=("module", "operator"))
    parser.add_argument("kinds", nargs="*", help="all, unless given")
    parser.add_argument("--most", type=int, default=2, help="networks of each kind")
    parser.add_argument("--counted", type=int, help="stop at so many kinds that are networks")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_intermixed_args()
    chosen = given.kinds or shuffled(kinds(given.database))
    job = Job(given.database, tuple(chosen), given.most)
    print(Table(run(job, given.processes, given.counted)).text())


if __name__ == "__main__":
    main()
