"""`grandopt benchmark --suite cache`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from grandopt.cli.console import Terminal

if TYPE_CHECKING:
    from rich.table import Table

    from grandopt.suites.lookups import LookupRow
    from grandopt.suites.policies import PolicyRow


def benchmark_cache(traces: Sequence[str], terminal: Terminal, budget_s: float | None) -> None:
    """Show what look-ups cost beside other caches, how small market observations become, and the hit ratios
    of every eviction policy on the traces, if there are any."""
    from grandopt.suites.lookups import BUDGET_S, benchmark_lookups, compression_ratio
    from grandopt.suites.policies import benchmark_policies

    policies = benchmark_policies(traces)
    lookups = benchmark_lookups(BUDGET_S if budget_s is None else budget_s)
    ratio = compression_ratio()
    if policies:
        terminal.show(_policy_table(policies))
    terminal.show(_lookup_table(lookups))
    terminal.lines([f"market observations [60, 7] in compressed memory: {ratio:.1f} times smaller"])
    terminal.document(
        {
            "policies": [asdict(row) for row in policies],
            "lookups": [asdict(row) for row in lookups],
            "compression": ratio,
        }
    )


def _policy_table(rows: Sequence[PolicyRow]) -> Table:
    from rich.table import Table

    from grandopt.suites.policies import POLICIES

    table = Table("trace", "entries", "requests", *(f"{name} %" for name in POLICIES), box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        shares = (f"{100 * row.hits[name] / row.requests:.2f}" for name in POLICIES)
        table.add_row(row.trace, str(row.entries), str(row.requests), *shares)
    return table


def _lookup_table(rows: Sequence[LookupRow]) -> Table:
    from rich.table import Table

    table = Table("a hit, with its key", "median µs", "hands out", "threads", box=None)
    table.columns[1].justify = "right"
    for row in rows:
        threads = "" if row.seconds is None else "any" if row.threads else "one"
        shown = "–" if row.seconds is None else f"{1e6 * row.seconds:.2f}"
        table.add_row(row.cache, shown, row.note, threads)
    return table
