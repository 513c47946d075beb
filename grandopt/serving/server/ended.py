"""What workers counted that have ended: counters of a server never go back because a worker died.

Each worker writes its figures to a file beside its socket once in a second. The one that takes its place
reads them and counts on; until it answers, the others read them there. What a worker that is killed counted
since it wrote last, a second at most, is lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from grandopt.serving.metrics.families import render
from grandopt.serving.metrics.merge import merged

EVERY_S = 1.0
Json = dict[str, Any]


class Counted(NamedTuple):
    """Counters and histograms in Prometheus' text format, and the protocol's statistics."""

    text: str = ""
    statistics: Json = {"model_stats": []}  # noqa: RUF012 - nobody changes it

    def of(self, living: Json) -> Json:
        """The statistics of the models that `living` has, under the versions that they have by now."""
        versions = {one["name"]: one["version"] for one in living["model_stats"]}
        kept = [one for one in self.statistics["model_stats"] if one["name"] in versions]
        return {"model_stats": [one | {"version": versions[one["name"]]} for one in kept]}


NOTHING = Counted()


def counted(path: Path) -> Counted:
    """What was written to a file; nothing where there is none."""
    try:
        found = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return NOTHING
    return Counted(found["text"], found["statistics"])


def keep(path: Path, texts: Iterable[str], statistics: Json) -> None:
    """Write figures to a file, in place of those before, but for gauges, which end with their process."""
    lasting = [family for family in merged(texts) if family.kind != "gauge"]
    part = path.with_suffix(".part")
    part.write_bytes(orjson.dumps({"text": render(lasting).decode(), "statistics": statistics}))
    part.replace(path)


def together(texts: Iterable[str]) -> str:
    """Several texts as one."""
    return render(merged(texts)).decode()
