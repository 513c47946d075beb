"""`grandopt report`: look at earlier runs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from grandopt.cli.commands.fleet import fleet
from grandopt.cli.commands.history import DEFAULT, history
from grandopt.cli.console import Terminal, complain
from grandopt.cli.options import Json, Quiet, Verbose
from grandopt.errors import HistoryError

if TYPE_CHECKING:
    from grandopt.reporting.history.records import Record

report = typer.Typer(rich_markup_mode=None, add_completion=False)
report.command()(history)
report.command()(fleet)


@report.callback()
def _group() -> None:
    """Look at the report of an earlier run, and at agents over time."""


@report.command()
def show(
    file: Annotated[Path, typer.Argument(metavar="REPORT.json", help="A report that grandopt wrote.")],
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show a report as tables.

    With -v also every candidate that was tried, with its reason, and all that `report html` holds: figures,
    errors, batch curves, the study, what to try next, the machine and the command.

    \b
    Example:
      grandopt report show reports/optimization_report.json
    """
    from grandopt.cli.render.benchmark import benchmark_tables
    from grandopt.cli.render.evidence import evidence_tables
    from grandopt.cli.render.load import load_lines
    from grandopt.cli.render.report import advice_lines, candidate_tables, summary
    from grandopt.reporting.report import load_report

    loaded = load_report(file)
    terminal = Terminal(as_json=json, quiet=quiet, verbose=verbose)
    if json:
        terminal.document(loaded.model_dump(mode="json"))
        return
    terminal.show(*summary(loaded, terminal.out.width))
    if any(agent.original_behind is not None for agent in loaded.agents):
        terminal.show(*benchmark_tables(loaded))
    elif verbose or loaded.kind == "benchmark":
        terminal.show(*candidate_tables(loaded, terminal.out.width))
    terminal.show(*load_lines(loaded))
    if verbose:
        terminal.show(*evidence_tables(loaded))
    else:
        terminal.show(*advice_lines(loaded))


@report.command()
def html(
    file: Annotated[Path, typer.Argument(metavar="REPORT.json", help="A report that grandopt wrote.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="Where the page goes.  [default: REPORT.html]"),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write a report as one HTML file that needs no network, and print its path.

    Where a history.sqlite lies beside the report, the page also shows its agents over time.

    \b
    Example:
      grandopt report html reports/optimization_report.json
    """
    # Remarks of matplotlib on where it keeps its font cache are nothing that the caller asked for.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from grandopt.reporting.html.page import write_page

    target = output or file.with_suffix(".html")
    write_page(file, target, history_beside(file.with_name(DEFAULT.name)))
    terminal = Terminal(as_json=json, quiet=quiet, verbose=verbose)
    terminal.lines([str(target)])
    terminal.document({"html": str(target)})


def history_beside(path: Path) -> tuple[Record, ...]:
    """The history beside a report, if there is one; one that cannot be read is a warning."""
    from grandopt.reporting.history.store import read

    if not path.exists():
        return ()
    try:
        return read(path)
    except HistoryError as error:
        complain(f"warning: without history: {error}")
        return ()
