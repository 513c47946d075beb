"""The child process that tries the samples of some kinds: `python -m …databases.worker JOB RESULTS`.

JOB is a JSON object of the arguments of `Job`. Each line of RESULTS is a JSON list: before a sample its kind
and number, after it also how it ended and why; so that whoever waits knows at which one this process died.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.native.databases.kinds import Database, Sample, samples
from tests.native.databases.speed import quicken
from tests.native.databases.trial import attempt

LOOKED_AT = 12
"""So many samples of a kind are looked at, at most, to find those that are networks."""


@dataclass(frozen=True)
class Job:
    """Some kinds of a database, `most` networks of each; the first kind from sample `skip` on."""

    database: Database
    kinds: tuple[str, ...]
    most: int
    skip: int = 0


@dataclass(frozen=True)
class Row:
    """How one sample of a kind ended: see `trial.Ending`, or "excluded" where it is no network."""

    kind: str
    number: int
    ending: str
    reason: str


def rows(job: Job) -> Iterator[Row | tuple[str, int]]:
    """(kind, number) ahead of each sample that is a network, then its row; one row for a kind without any."""
    for place, kind in enumerate(job.kinds):
        tried, reason, skip = 0, "it has no float32 sample", job.skip if place == 0 else 0
        for sample in samples(job.database, kind):
            if tried == job.most or sample.number >= LOOKED_AT:
                break
            if isinstance(sample.network, str):
                reason = sample.network if sample.number == 0 else reason
                continue
            tried += 1
            if sample.number < skip:
                continue
            yield kind, sample.number
            yield _tried(kind, sample)
        if tried == 0:
            yield Row(kind, -1, "excluded", reason)


def _tried(kind: str, sample: Sample) -> Row:
    assert not isinstance(sample.network, str)
    outcome = attempt(f"{kind.replace('.', '_')}_{sample.number}", sample.network)
    if outcome.ending == "not captured" and sample.network.network.each:
        return Row(kind, sample.number, "excluded", f"torch.vmap of it is not captured: {outcome.reason}")
    if outcome.ending == "not comparable":
        return Row(kind, sample.number, "excluded", f"no engine could be verified: {outcome.reason}")
    return Row(kind, sample.number, outcome.ending, outcome.reason)


def main() -> None:
    """Try everything of the job."""
    given = json.loads(sys.argv[1])
    quicken()
    job = Job(given["database"], tuple(given["kinds"]), given["most"], given["skip"])
    with Path(sys.argv[2]).open("a", encoding="utf-8") as results:
        for row in rows(job):
            line = row if isinstance(row, tuple) else (row.kind, row.number, row.ending, row.reason)
            results.write(json.dumps(line) + "\n")
            results.flush()


if __name__ == "__main__":
    main()
