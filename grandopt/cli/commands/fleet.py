"""`grandopt report fleet`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grandopt.cli.console import Terminal, complain
from grandopt.cli.exit_codes import ExitCode
from grandopt.cli.options import Json, Quiet, Verbose
from grandopt.errors import OutputError

PAGE = Path("fleet_report.html")


def fleet(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="URL|FOLDER|FILE…", help="Reports, histories, folders of them, servers."),
    ],
    output: Annotated[Path, typer.Option("--output", metavar="FILE", help="Where the page goes.")] = PAGE,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> ExitCode:
    """Show the agents of many machines on one page: what each kind of machine ships, and how fast it is.

    Reads every *report*.json and *.sqlite of a folder, what lies at an http(s) URL, or what a server of ours
    tells of its artifacts. Times are told by kind of machine and never compared across kinds. What cannot be
    read is named, the rest is shown all the same, and the exit code is 1. Also says what became slower with a
    new version, and what each kind of machine would gain.

    \b
    Example:
      grandopt report fleet machines/*/reports
      grandopt report fleet https://ci.example/history.sqlite http://gate-1:8000 --output fleet.html
    """
    from importlib.metadata import version

    from grandopt.cli.render.fleet import fleet_tables
    from grandopt.distributed.fleet_report.sources import PATTERNS, read_sources
    from grandopt.reporting.atomic_write import write_text_atomically
    from grandopt.reporting.fleet.document import fleet_document
    from grandopt.reporting.fleet.fleet import fleet as merged
    from grandopt.reporting.html.fleet_page import render_fleet

    if output.suffix in PATTERNS:
        raise OutputError(f"{output}: named like a report or a history, which the page must not replace")
    terminal = Terminal(as_json=json, quiet=quiet, verbose=verbose)
    found = merged(*read_sources(sources))
    write_text_atomically(output, render_fleet(found, version("grandopt")))
    terminal.show(*fleet_tables(found))
    terminal.lines(["", f"page: {output}"])
    terminal.document({"html": str(output), **fleet_document(found)})
    for one in found.unread:
        complain(f"warning: not in the report: {one.reason}")
    return ExitCode.FAILED if found.unread else ExitCode.DONE
