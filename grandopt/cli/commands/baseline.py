"""`grandopt baseline`: what the regression gate holds candidates against."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grandopt.cli.console import Terminal
from grandopt.cli.options import Agents, Json, Quiet, RequireSignature, Verbose

baseline = typer.Typer(rich_markup_mode=None, add_completion=False)
Name = Annotated[str, typer.Argument(metavar="NAME", help="The baseline's name, a folder's.")]


@baseline.callback()
def _group() -> None:
    """Keep artifacts under reports/baselines/ for `grandopt compare`."""


@baseline.command()
def save(
    name: Name,
    source: Annotated[
        Path, typer.Argument(metavar="[ARTIFACTS]", help="An artifact, or a folder of them.")
    ] = Path("artifacts"),
    report: Annotated[
        Path | None,
        typer.Option(
            "--report", metavar="FILE", help="The report of the run that made them, kept with them."
        ),
    ] = None,
    agent: Agents = None,
    replace: Annotated[bool, typer.Option("--replace", help="Write over a baseline of that name.")] = False,
    require_signature: RequireSignature = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Keep artifacts as a baseline: a copy of each, whole, and what machine it was saved on.

    The artifacts are measured again in every comparison, on whatever machine that is, so the folder can be
    committed. Its size is that of the artifacts.

    \b
    Example:
      grandopt baseline save main
      grandopt baseline save main artifacts --report reports/optimization_report.json --replace
    """
    from grandopt.reporting.gate.baseline import FOLDER
    from grandopt.workflows.gate.baseline import save_baseline

    kept = save_baseline(name, source, report=report, agents=tuple(agent or ()), replace=replace)
    terminal = Terminal(as_json=json, quiet=quiet, verbose=verbose)
    terminal.lines([str(FOLDER / name)])
    terminal.document(kept.model_dump(mode="json"))


@baseline.command("list")
def list_(json: Json = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """List the saved baselines.

    \b
    Example:
      grandopt baseline list
    """
    from grandopt.cli.render.gate import baseline_table
    from grandopt.reporting.gate.baseline import FOLDER, load_baseline, names

    kept = [load_baseline(FOLDER / name) for name in names()]
    terminal = Terminal(as_json=json, quiet=quiet, verbose=verbose)
    if kept:
        terminal.show(baseline_table(kept))
    else:
        terminal.note(f"{FOLDER}: no baselines; `grandopt baseline save NAME` makes one")
    terminal.document([item.model_dump(mode="json") for item in kept])


@baseline.command()
def show(name: Name, json: Json = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Show what a baseline holds.

    \b
    Example:
      grandopt baseline show main
    """
    from grandopt.cli.render.gate import agents_table, baseline_table
    from grandopt.reporting.gate.baseline import FOLDER, load_baseline

    kept = load_baseline(FOLDER / name)
    terminal = Terminal(as_json=json, quiet=quiet, verbose=verbose)
    terminal.show(baseline_table([kept]), agents_table(kept))
    terminal.document(kept.model_dump(mode="json"))
