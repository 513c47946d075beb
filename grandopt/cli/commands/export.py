"""`grandopt export`: an artifact for hosts that are not Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from grandopt.cli.options import parse_names
from grandopt.errors import ConfigError
from grandopt.reporting.units import size

Flavour = Literal["generic", "isaaclab", "mlagents", "godot"]


def export(
    artifact: Annotated[Path, typer.Argument(help="The folder of an artifact.")],
    place: Annotated[
        Path,
        typer.Argument(metavar="FOLDER|FILE", help="Where to write: for c an empty or missing folder."),
    ],
    to: Annotated[
        Literal["c", "onnx"],
        typer.Option(
            "--to", help="What to write. c: source and libraries, of a native artifact; onnx: one file."
        ),
    ] = "c",
    flavour: Annotated[
        Flavour | None,
        typer.Option("--flavour", help="onnx: the host whose names and layouts it has.  [default: generic]"),
    ] = None,
    outputs: Annotated[
        str | None,
        typer.Option(
            "--outputs", metavar="NAME,…", help="onnx: the outputs that are kept, beside the state."
        ),
    ] = None,
    samples: Annotated[
        Path | None,
        typer.Option(
            "--samples",
            metavar="FILE.npz",
            help="onnx: recorded observations to check the answers on, in the place of draws.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="onnx: write over a file that is there.")
    ] = False,
    realtime: Annotated[
        bool, typer.Option("--realtime", help="c: write nothing unless the real-time contract holds.")
    ] = False,
) -> None:
    """Write an artifact for hosts that are not Python.

    c: the header, static and shared libraries, source, examples and Makefile of a native artifact.
    onnx: the agent of any artifact with its normalisation, scaling and clipping inside, checked before it is
    put in place: by onnx.checker, by the answers of ONNX Runtime, and by reading it back.

    \b
    Example:
      grandopt export artifacts/gate --to c gate-c && make -C gate-c
      grandopt export artifacts/gate --to onnx gate.onnx --flavour isaaclab
    """
    match to:
        case "c":
            given = {
                "flavour": flavour,
                "outputs": outputs,
                "samples": samples,
                "overwrite": overwrite or None,
            }
            for name, value in given.items():
                if value is not None:
                    raise ConfigError(f"--{name} says nothing about --to c; leave it out")
            from grandopt.workflows.exporting.c_library import REALTIME, export_c

            files = export_c(artifact, place, realtime=realtime)
            typer.echo(f"{place}: {len(files)} files ({', '.join(files)})")
            if REALTIME in files:
                contract = json.loads((place / REALTIME).read_bytes())
                typer.echo(f"{place}: real-time contract: {contract['status']} (see {REALTIME})")
                for check in contract["checks"]:
                    if check["status"] != "holds":
                        typer.echo(f"  {check['status']}: {check['what']}: {check['found']}")
        case "onnx":
            if realtime:
                raise ConfigError("--realtime says nothing about --to onnx; leave it out")
            from grandopt.workflows.exporting.onnx.write import export_onnx

            written = export_onnx(
                artifact,
                place,
                flavour=flavour or "generic",
                outputs=parse_names(outputs),
                samples=samples,
                overwrite=overwrite,
            )
            names = f"{', '.join(written.inputs)} → {', '.join(written.outputs)}"
            typer.echo(f"{place}: {size(written.bytes)}, opset {written.opset}, {names}")
            typer.echo("; ".join(written.checks))
