"""`grandopt export`: an artifact for hosts that are not Python."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def export(
    artifact: Annotated[Path, typer.Argument(help="The folder of a native artifact.")],
    folder: Annotated[Path, typer.Argument(help="Where to write; must be empty or missing.")],
    to: Annotated[Literal["c"], typer.Option("--to", help="What to write: C source and libraries.")] = "c",
) -> None:
    """Write a native artifact as C: header, static and shared libraries, source, examples, Makefile.

    \b
    Example:
      grandopt export artifacts/gate --to c gate-c && make -C gate-c
    """
    from grandopt.workflows.export import export_c

    files = export_c(artifact, folder)
    typer.echo(f"{folder}: {len(files)} files ({', '.join(files)})")
