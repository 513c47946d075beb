"""`grandopt benchmark --suite residence`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from grandopt.cli.console import Terminal, complain
from grandopt.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from grandopt.config.schema import Job


def benchmark_residence(described: Job, terminal: Terminal) -> ExitCode:
    """Show what the shipped agents hold in one process, and what their originals hold in another.

    FAILED when an agent's answers differ from its original's by more than the profile admits.
    """
    from rich.table import Table

    from grandopt.cli.progress import ProgressDisplay
    from grandopt.suites.residence import benchmark_residence as measured

    with ProgressDisplay(terminal) as display:
        found = measured(described, display)
    agents = Table("agent", "engine", "precision", "error", box=None)
    for agent in found.agents:
        agents.add_row(agent.name, agent.engine, agent.precision, f"{agent.error:.1e}")
    sides = Table("one process with all", "RSS", "PSS", "USS", box=None)
    for name, side in (("in eager torch", found.eager), ("as shipped", found.shipped)):
        sides.add_row(name, *(f"{value:.1f} MB" for value in (side.rss_mb, side.pss_mb, side.uss_mb)))
    for table, first in ((agents, 3), (sides, 1)):
        for column in table.columns[first:]:
            column.justify = "right"
    terminal.show(agents, "", sides, f"resident memory {100 * found.saved:.1f} % below eager torch")
    terminal.document(asdict(found))
    for name in found.different:
        complain(f"error: {name}: answers differ from the original's by more than {found.limit:g} (L2)")
    return ExitCode.FAILED if found.different else ExitCode.DONE
