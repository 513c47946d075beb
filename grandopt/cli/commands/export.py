"""`grandopt export`: an artifact for hosts that are not Python."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def export(
    artifact: Annotated[Path, typer.Argument(help="The folder of an artifact.")],
    folder: Annotated[Path, typer.Argument(help="Where to write; must be empty or missing.")],
    to: Annotated[
        Literal["c"],
        typer.Option("--to", help="What to write. c: source and libraries, of a native artifact."),
    ] = "c",
) -> None:
    """Write an artifact for hosts that are not Python.

    c: the header, static and shared libraries, source, examples and Makefile of a native artifact.

    \b
    Example:
      grandopt export artifacts/gate --to c gate-c && make -C gate-c
    """
    match to:
        case "c":
            from grandopt.workflows.exporting.c_library import export_c

            files = export_c(artifact, folder)
            typer.echo(f"{folder}: {len(files)} files ({', '.join(files)})")
