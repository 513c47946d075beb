"""What a server of ours tells of the artifacts that it serves."""

from __future__ import annotations

import math
from typing import Any
from urllib.parse import quote

from grandopt import limits
from grandopt.distributed.fleet_report.fetching import fetched
from grandopt.errors import InputError
from grandopt.reporting.fleet.fleet import SERVED
from grandopt.reporting.history.records import AgentRecord, Record, RunRecord

ANSWER_BYTES = 4 * limits.MIB
MOST_AGENTS = 1_000


def told_by_server(url: str) -> tuple[Record, ...]:
    """A record for each artifact that the server at `url` has ready, as the artifact's own evidence says.

    Its figures are of the machine that the artifact was measured on, whose identity a server does not tell.
    Raises InputError for an answer that is none of a server of ours.
    """
    base = url.rstrip("/")
    index = _json(url, fetched(f"{base}/v2/repository/index", ANSWER_BYTES, body=b"{}"))
    if not isinstance(index, list) or not all(isinstance(row, dict) for row in index):
        raise InputError(f"{url}: is neither a report, a history, nor a server of grandopt")
    names = [row["name"] for row in index if row.get("state") == "READY" and isinstance(row.get("name"), str)]
    if len(names) > MOST_AGENTS:
        raise InputError(f"{url}: serves {len(names):,} agents, and at most {MOST_AGENTS:,} are read")
    return tuple(
        record
        for name in dict.fromkeys(names)
        if (record := _record(url, name, f"{base}/dashboard/reports/{quote(name, safe='')}")) is not None
    )


def _record(url: str, name: str, place: str) -> Record | None:
    told = _json(url, fetched(place, ANSWER_BYTES))
    if not isinstance(told, dict):
        raise InputError(f"{url}: tells of {name!r:.60} in another form than a server of grandopt")
    if "missing" in told:
        return None
    figures, speedup, machine = (_table(told.get(key)) for key in ("figures", "speedup", "machine"))
    size = _number(figures.get("artifact_bytes"))
    run = RunRecord(
        kind=SERVED,
        status="complete",
        started="",
        duration_s=0.0,
        grandopt=_text(told.get("built_by")).removeprefix("grandopt ") or "unknown",
        machine="",
        cpu_model=_text(machine.get("cpu_model")) or None,
        python=_text(machine.get("python")) or None,
        libraries={},
        profile=None,
        seed=0,
        threads=_text(told.get("threads")) or "1",
        command=(),
    )
    factor = _number(speedup.get("value"))
    agent = AgentRecord(
        agent=name,
        status="optimized" if factor is not None else "measured",
        engine=_text(told.get("engine")) or None,
        precision=_text(told.get("precision")) or None,
        digest=_text(told.get("digest")) or None,
        p50_us=_number(figures.get("p50_us")),
        p99_us=_number(figures.get("p99_us")),
        qps=_number(figures.get("qps")),
        artifact_bytes=None if size is None else int(size),
        speedup=factor,
        speedup_low=_number(speedup.get("low")),
        speedup_high=_number(speedup.get("high")),
    )
    return Record(run, agent)


def _json(url: str, answer: bytes) -> Any:
    try:
        return limits.document(answer.decode("utf-8"))
    except ValueError as error:
        raise InputError(f"{url}: is neither a report, a history, nor a server of grandopt") from error


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return str(value) if isinstance(value, str | int) else ""


def _number(value: object) -> float | None:
    """A positive, finite number; anything else is none."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if math.isfinite(value) and value > 0 else None
