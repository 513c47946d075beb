"""`grandopt export`: an artifact for hosts that are not Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from grandopt.cli.option_values import parse_names
from grandopt.cli.options import RequireSignature
from grandopt.errors import ConfigError

Target = Literal["c", "onnx", "wasm", "mcu"]
Flavour = Literal["generic", "isaaclab", "mlagents", "godot"]
Precision = Literal["float32", "int8"]

OPTIONS: dict[Target, tuple[str, ...]] = {
    "c": ("realtime",),
    "onnx": ("flavour", "outputs", "samples", "overwrite"),
    "wasm": ("samples",),
    "mcu": ("precision", "board", "samples"),
}
"""The options that say something about each target."""


def export(
    artifact: Annotated[Path, typer.Argument(help="The folder of an artifact.")],
    place: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER|FILE", help="Where to write: a file for onnx, else an empty or missing folder."
        ),
    ],
    to: Annotated[
        Target,
        typer.Option(
            "--to",
            help="What to write. c: source and libraries, of a native artifact; onnx: one file; wasm: "
            "modules for pages and Node; mcu: a C header for microcontrollers.",
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
            help="onnx, wasm, mcu: recorded observations to check the answers on, in the place of draws, and "
            "to calibrate int8 on.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="onnx: write over a file that is there.")
    ] = False,
    realtime: Annotated[
        bool, typer.Option("--realtime", help="c: write nothing unless the real-time contract holds.")
    ] = False,
    precision: Annotated[
        Precision | None,
        typer.Option("--precision", help="mcu: what large products are computed in.  [default: float32]"),
    ] = None,
    board: Annotated[
        str | None,
        typer.Option("--board", metavar="NAME", help="mcu: the board that it must fit, such as teensy-4.1."),
    ] = None,
    require_signature: RequireSignature = None,
) -> None:
    """Write an artifact for hosts that are not Python.

    c: the header, static and shared libraries, source, examples and Makefile of a native artifact.

    onnx: the agent of any artifact with its normalisation, scaling and clipping inside, checked before it is
    put in place: by onnx.checker, by the answers of ONNX Runtime, and by reading it back.

    wasm: the agent of any artifact in float32 as WebAssembly, with and without vectors, its loader, types and
    examples; checked in Node first, where that is installed.

    mcu: the agent of any artifact as one header of plain C, laid out as a library of Arduino, PlatformIO and
    ESP-IDF, verified on this machine, and measured for the board.

    \b
    Example:
      grandopt export artifacts/gate --to c gate-c && make -C gate-c
      grandopt export artifacts/gate --to onnx gate.onnx --flavour isaaclab
      grandopt export artifacts/gate --to wasm gate-wasm
      grandopt export artifacts/gate --to mcu gate-mcu --board raspberry-pi-pico
    """
    given = {
        "flavour": flavour,
        "outputs": outputs,
        "samples": samples,
        "overwrite": overwrite or None,
        "realtime": realtime or None,
        "precision": precision,
        "board": board,
    }
    for name, value in given.items():
        if value is not None and name not in OPTIONS[to]:
            raise ConfigError(f"--{name} says nothing about --to {to}; leave it out")
    match to:
        case "c":
            lines = _c(artifact, place, realtime=realtime)
        case "onnx":
            lines = _onnx(artifact, place, flavour or "generic", outputs, samples, overwrite=overwrite)
        case "wasm":
            lines = _wasm(artifact, place, samples)
        case "mcu":
            lines = _mcu(artifact, place, precision or "float32", board, samples)
    typer.echo("\n".join(lines))


def _c(artifact: Path, place: Path, *, realtime: bool) -> list[str]:
    from grandopt.workflows.exporting.c_library import REALTIME, export_c

    files = export_c(artifact, place, realtime=realtime)
    lines = [f"{place}: {len(files)} files ({', '.join(files)})"]
    if REALTIME in files:
        contract = json.loads((place / REALTIME).read_bytes())
        lines.append(f"{place}: real-time contract: {contract['status']} (see {REALTIME})")
        lines += [
            f"  {check['status']}: {check['what']}: {check['found']}"
            for check in contract["checks"]
            if check["status"] != "holds"
        ]
    return lines


def _onnx(
    artifact: Path,
    place: Path,
    flavour: Flavour,
    outputs: str | None,
    samples: Path | None,
    *,
    overwrite: bool,
) -> list[str]:
    from grandopt.reporting.units import size
    from grandopt.workflows.exporting.onnx.write import export_onnx

    written = export_onnx(
        artifact,
        place,
        flavour=flavour,
        outputs=parse_names(outputs),
        samples=samples,
        overwrite=overwrite,
    )
    names = f"{', '.join(written.inputs)} → {', '.join(written.outputs)}"
    return [
        f"{place}: {size(written.bytes)}, opset {written.opset}, {names}",
        "; ".join(written.checks),
    ]


def _wasm(artifact: Path, place: Path, samples: Path | None) -> list[str]:
    from grandopt.reporting.units import size
    from grandopt.workflows.exporting.wasm import export_wasm

    modules = export_wasm(artifact, place, samples=samples)
    sizes = ", ".join(f"{name} {size(count)}" for name, count in modules.sizes.items())
    return [f"{place}: {sizes}", *modules.checks]


def _mcu(
    artifact: Path, place: Path, precision: Precision, board: str | None, samples: Path | None
) -> list[str]:
    from grandopt.workflows.exporting.microcontroller.export import export_mcu
    from grandopt.workflows.exporting.program import carried

    made = export_mcu(carried(artifact), place, precision=precision, board=board, samples=samples)
    return [f"{place}: {len(made.files)} files ({', '.join(made.files)})", *made.lines()]
