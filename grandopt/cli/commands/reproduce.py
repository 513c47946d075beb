"""`grandopt reproduce`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from grandopt.cli.console import Terminal, complain
from grandopt.cli.exit_codes import ExitCode
from grandopt.cli.options import Agents, Json, Quiet, Trust, Verbose
from grandopt.errors import ConfigError

if TYPE_CHECKING:
    from grandopt.reporting.reproduction import Reproduction


def reproduce(
    path: Annotated[
        Path, typer.Argument(metavar="ARTIFACT|REPORT.json", help="What `grandopt optimize` wrote.")
    ],
    agent: Agents = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option("--checkpoint", metavar="FILE", help="The checkpoint, if it is no longer where it was."),
    ] = None,
    samples: Annotated[
        Path | None,
        typer.Option("--samples", metavar="FILE.npz", help="The samples, if they are no longer there."),
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure/--no-measure", help="Also measure the new build beside its original.")
    ] = True,
    trust: Trust = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> ExitCode:
    """Build an artifact again as it was recorded, and say what differs.

    Takes the checkpoint, settings and seed of its recipe, builds without any cache, compares the payload byte
    by byte and the answers bit by bit, and measures. Of a report, all its agents. Writes nothing. Exit code
    0: reproduced, 1: something differs, 2: it cannot be done, such as for a missing checkpoint.

    \b
    Example:
      grandopt reproduce artifacts/decision_gate
      grandopt reproduce artifacts/lander --checkpoint backup/ppo-LunarLander-v2.zip
      grandopt reproduce reports/optimization_report.json --agent decision_gate
    """
    from grandopt.cli.progress import ProgressDisplay
    from grandopt.workflows.reproduce.recorded import Substitutes, recorded_in
    from grandopt.workflows.reproduce.reproduce import Wanted, reproduce_all

    found = recorded_in(path, agent or ())
    if len(found) > 1 and (checkpoint is not None or samples is not None):
        raise ConfigError(
            f"--checkpoint and --samples are of one agent, {path} has {len(found)}; add --agent"
        )
    terminal = Terminal(as_json=json, quiet=quiet, verbose=verbose)
    wanted = Wanted(Substitutes(checkpoint, samples), trust=trust, measure=measure)
    with ProgressDisplay(terminal) as display:
        results = reproduce_all(found, wanted, display)

    from grandopt.cli.render.reproduction import reproduction_lines

    terminal.show(*reproduction_lines(results, verbose=verbose))
    terminal.document({"source": str(path), "agents": [item.model_dump(mode="json") for item in results]})
    return _outcome(results)


def _outcome(results: Sequence[Reproduction]) -> ExitCode:
    """The code, after one line on stderr for each agent that cannot be reproduced."""
    cannot = [item for item in results if item.verdict == "cannot"]
    for item in cannot:
        complain(f"error: {item.reason}")
    if cannot:
        return ExitCode.BAD_INPUT
    return ExitCode.FAILED if any(item.verdict == "differs" for item in results) else ExitCode.DONE
