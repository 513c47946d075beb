"""`grandopt benchmark --suite memory`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from grandopt.cli.console import Terminal
from grandopt.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from grandopt.workflows.memory import MemoryBenchmark, Tail


def benchmark_memory(paths: Sequence[Path], terminal: Terminal, *, trust: bool, seed: int | None) -> None:
    """Show what pools and the collector are worth here; raises ConfigError for more than one artifact."""
    if len(paths) > 1:
        raise ConfigError(f"--suite memory serves one agent: name one artifact or none, got {len(paths)}")
    from grandopt.workflows import memory

    result = memory.benchmark_memory(
        paths[0] if paths else None, memory.TailSetup(), terminal.note, trust=trust, seed=seed or 0
    )
    terminal.show(_pools(result))
    terminal.lines(["", *_decisions(result), "", *_setup(result.tail), ""])
    terminal.show(_tail(result.tail))
    terminal.lines(["", *_verdict(result.tail)])
    terminal.document(asdict(result))


def _pools(result: MemoryBenchmark) -> Table:
    """Microseconds of taking, writing and returning one piece: fresh / pooled."""
    from rich.table import Table

    columns = [f"{row.kind} ×{row.live}" for row in result.pools]
    table = Table("µs fresh / pooled", *columns, box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    sizes = sorted({time.size for row in result.pools for time in row.worth.times})
    for size in sizes:
        cells = []
        for row in result.pools:
            time = next((time for time in row.worth.times if time.size == size), None)
            shown = "–" if time is None else f"{_micro(time.fresh_ns)}/{_micro(time.pooled_ns)}"
            cells.append(shown)
        table.add_row(f"{size >> 10} KiB" if size < 1 << 20 else f"{size >> 20} MiB", *cells)
    return table


def _decisions(result: MemoryBenchmark) -> Iterator[str]:
    for row in result.pools:
        yield f"{row.kind} ×{row.live}: {row.worth.reason}"


def _setup(tail: Tail) -> Iterator[str]:
    setup = tail.setup
    yield f"serving {tail.agent}: {1e6 * tail.agent_s:.1f} µs a call by itself; {tail.flavour} collector"
    yield (
        f"heap: {tail.tracked} tracked objects ({setup.sessions} sessions); each request makes about "
        f"{tail.per_request} more,"
    )
    yield (
        f"in cycles, and the last {setup.recent} requests stay reachable. After every {setup.burst} requests "
        f"an idle"
    )
    yield "moment, which is in no request's time: the collector uses it, the defaults do not."
    yield f"{setup.processes} fresh processes of each kind in turns, {setup.calls} requests each."


def _tail(tail: Tail) -> Table:
    from rich.table import Table

    table = Table(
        "µs a request",
        *(f"p{percent}" for percent in tail.defaults.percentiles),
        "longest",
        "GC amid",
        "GC idle",
        "interrupted",
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
            str(arm.interrupted),
        )
    return table


def _verdict(tail: Tail) -> Iterator[str]:
    each = ", ".join(f"{ratio:.1f}" for ratio in tail.ratios)
    yield f"p99.9: {tail.ratio:.1f} times lower with the collector (each pair of processes: {each})"


def _micro(nanoseconds: float) -> str:
    return f"{nanoseconds / 1e3:.3g}" if nanoseconds < 1e6 else f"{nanoseconds / 1e3:.0f}"
