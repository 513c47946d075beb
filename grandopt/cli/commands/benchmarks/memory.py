"""`grandopt benchmark --suite memory`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from grandopt.cli.console import Terminal
from grandopt.errors import ConfigError

WIDTH = 80

if TYPE_CHECKING:
    from rich.table import Table

    from grandopt.suites.memory import MemoryBenchmark, Tail


def benchmark_memory(paths: Sequence[Path], terminal: Terminal, *, trust: bool, seed: int | None) -> None:
    """Show what pools and the collector are worth here; raises ConfigError for more than one artifact."""
    if len(paths) > 1:
        raise ConfigError(f"--suite memory serves one agent: name one artifact or none, got {len(paths)}")
    from grandopt.suites import memory

    result = memory.benchmark_memory(
        paths[0] if paths else None, memory.TailSetup(), terminal.note, trust=trust, seed=seed or 0
    )
    for live in sorted({row.live for row in result.pools}):
        terminal.show(_pools(result, live))
        terminal.lines([""])
    terminal.lines([*_setup(result.tail), ""])
    terminal.show(_tail(result.tail))
    terminal.lines(["", *_verdict(result.tail)])
    terminal.document(asdict(result))


def _pools(result: MemoryBenchmark, live: int) -> Table:
    """Microseconds of taking, writing and returning one piece, with `live` of them held at a time."""
    from rich.table import Table

    rows = [row for row in result.pools if row.live == live]
    columns = [f"{row.kind} {way}" for row in rows for way in ("fresh", "pool")]
    table = Table(f"µs, {live} held", *columns, box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for size in sorted({time.size for row in rows for time in row.break_even.times}):
        times = [next((time for time in row.break_even.times if time.size == size), None) for row in rows]
        cells = [
            _micro(value)
            for time in times
            for value in ((None, None) if time is None else (time.fresh_ns, time.pooled_ns))
        ]
        table.add_row(_bytes(size), *cells)
    decisions = ["" if row.break_even.pays_from is None else _bytes(row.break_even.pays_from) for row in rows]
    table.add_row("pays from", *(cell for decision in decisions for cell in ("", decision or "never")))
    return table


def _setup(tail: Tail) -> Iterator[str]:
    setup = tail.setup
    yield f"serving {tail.agent}: {1e6 * tail.agent_s:.1f} µs a call by itself; {tail.gc_kind} collector"
    text = (
        f"Heap: {tail.tracked} tracked objects ({setup.sessions} sessions). Each request is decoded from "
        f"JSON and makes about {tail.per_request} more, in cycles; the last {setup.recent} stay reachable. "
        f"After every {setup.burst} comes an idle moment, which is in no request's time: the collector uses "
        f"it, the defaults do not. GC amid is what was collected within requests, and in their times. "
        f"{setup.processes} fresh processes of each kind, in turns, {setup.calls} requests each."
    )
    yield from textwrap.wrap(text, WIDTH)


def _tail(tail: Tail) -> Table:
    from rich.table import Table

    table = Table(
        "µs a request",
        *(f"p{percent}" for percent in tail.defaults.percentiles),
        "longest",
        "GC amid",
        "GC idle",
        box=None,
        pad_edge=False,
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for arm in (tail.defaults, tail.collector):
        table.add_row(
            arm.name,
            *(f"{1e6 * value:.1f}" for value in arm.percentiles.values()),
            f"{1e6 * arm.longest:.0f}",
            f"{1e3 * arm.collecting_s:.1f} ms",
            f"{1e3 * arm.idle_s:.1f} ms",
        )
    return table


def _verdict(tail: Tail) -> Iterator[str]:
    each = ", ".join(f"{ratio:.1f}" for ratio in tail.ratios)
    yield f"p99.9: {tail.ratio:.1f} times lower with the collector (each pair: {each})"
    yield from textwrap.wrap(
        f"The system ran something else {tail.defaults.interrupted} times amid the requests of the first and "
        f"{tail.collector.interrupted} times amid those of the second; such requests are in the figures.",
        WIDTH,
    )


def _micro(nanoseconds: float | None) -> str:
    if nanoseconds is None:
        return "–"
    return f"{nanoseconds / 1e3:.3g}" if nanoseconds < 1e6 else f"{nanoseconds / 1e3:.0f}"


def _bytes(size: int) -> str:
    return f"{size >> 10} KiB" if size < 1 << 20 else f"{size >> 20} MiB"
