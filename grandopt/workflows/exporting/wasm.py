"""An artifact's program as a folder for pages and Node: WebAssembly, its loader, types and examples."""

from __future__ import annotations

import json
import re
from contextlib import closing
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from grandopt.compiler.backends.native import wasm
from grandopt.compiler.backends.native.wasm.module import WasmModules, compile_modules
from grandopt.compiler.backends.native.wasm.types import declarations
from grandopt.compiler.program import Program
from grandopt.errors import EngineUnavailableError, OutputError
from grandopt.workflows.exporting.node import NodeExecutor
from grandopt.workflows.exporting.proof import oracle_of, proven, worst_error

MODULES = ("agent.wasm", "agent.scalar.wasm")
HOST = ("agent.js", "example.mjs", "example.html")


@dataclass(frozen=True)
class WasmExport:
    """The files that were written with their sizes, and one line that says what was checked of them."""

    files: dict[str, int]
    checked: str


def export_wasm(program: Program, folder: Path) -> WasmExport:
    """Write the program as WebAssembly into `folder`, which is made if it is missing and must be empty.

    Where Node is installed, both modules are run in it, and held to the float32 rule on drawn inputs. Raises
    OutputError when the folder cannot be written, VerificationError when an answer is wrong, and what
    `compile_modules` raises.
    """
    _claim(folder)
    files = _files(program, compile_modules(program))
    try:
        for name, content in files.items():
            (folder / name).write_bytes(content)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror}") from error
    return WasmExport({name: len(content) for name, content in files.items()}, _checked(program, folder))


def _claim(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise OutputError(f"{folder}: is not empty; choose another folder or empty this one")
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror}") from error


def _files(program: Program, modules: WasmModules) -> dict[str, bytes]:
    host = resources.files(wasm).joinpath("host")
    package = {
        "name": re.sub(r"[^a-z0-9-]+", "-", program.name.lower()).strip("-") or "agent",
        "private": True,
        "type": "module",
        "main": "agent.js",
        "types": "agent.d.ts",
    }
    types = declarations(program.name, program.signature, program.contract)
    return {
        **dict(zip(MODULES, (modules.simd, modules.scalar), strict=True)),
        **{name: host.joinpath(name).read_bytes() for name in HOST},
        "agent.d.ts": types.encode(),
        "package.json": (json.dumps(package, indent=4) + "\n").encode(),
    }


def _checked(program: Program, folder: Path) -> str:
    signature, contract = program.signature, program.contract
    lines = []
    oracle = None
    for module in MODULES:
        try:
            executor = NodeExecutor(folder, module, signature, contract)
        except EngineUnavailableError as error:
            return f"not run: {error}"
        oracle = oracle or oracle_of(program)
        with closing(executor):
            verdict = proven(executor, oracle, f"{folder / module}")
        calls = f"{verdict.cases} calls" + (f" and {verdict.steps} steps" if verdict.steps else "")
        lines.append(f"{module}: {calls} in Node, {worst_error(verdict)}")
    return "; ".join(lines)
