"""`grandopt verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grandopt.cli.console import Terminal, complain
from grandopt.cli.exit_codes import ExitCode
from grandopt.cli.options import Json, Quiet, Verbose


def verify(
    artifacts: Annotated[
        list[Path],
        typer.Argument(metavar="ARTIFACT", help="Folders of artifacts, or a folder of such folders."),
    ],
    keys: Annotated[
        Path,
        typer.Option("--keys", metavar="FILE|FOLDER", help="Public keys: a PEM file, or a folder of *.pub."),
    ],
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> ExitCode:
    """Check that artifacts are signed by one of the given keys, and are in every byte what was signed.

    Nothing of an artifact is opened or run. The exit code is 1 where one is refused, with the reason.

    \b
    Example:
      grandopt verify artifacts/ --keys release.key.pub
    """
    from grandopt.artifacts.signing.keys import TrustedKeys
    from grandopt.artifacts.signing.release import found, verdict

    terminal = Terminal(as_json=json, quiet=quiet, verbose=verbose)
    trusted = TrustedKeys.read(keys)
    verdicts = [verdict(path, trusted) for path in found(artifacts)]
    refused = [one for one in verdicts if one.reason]
    terminal.lines(
        f"verified {one.path} by key {(one.key or '')[:16]}…" for one in verdicts if not one.reason
    )
    for one in refused:
        complain(f"refused: {one.reason}")
    terminal.document({"artifacts": [one._asdict() for one in verdicts]})
    return ExitCode.FAILED if refused else ExitCode.DONE
