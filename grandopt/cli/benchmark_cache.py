"""`grandopt benchmark --suite cache`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from grandopt.cli.console import Terminal
from grandopt.errors import ConfigError


def benchmark_cache(traces: Sequence[str], terminal: Terminal) -> None:
    """Show the hit ratios of every eviction policy on the traces; raises ConfigError without any."""
    if not traces:
        raise ConfigError("--suite cache replays traces: name at least one file, such as OLTP.lis.zst@1000")

    from rich.table import Table

    from grandopt.workflows.policies import POLICIES, benchmark_policies

    rows = benchmark_policies(traces)
    table = Table("trace", "entries", "requests", *(f"{name} %" for name in POLICIES), box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        shares = (f"{100 * row.hits[name] / row.requests:.2f}" for name in POLICIES)
        table.add_row(row.trace, str(row.entries), str(row.requests), *shares)
    terminal.show(table)
    terminal.document([asdict(row) for row in rows])
