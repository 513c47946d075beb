"""An artifact's program as a folder for pages and Node: WebAssembly, its loader, types and examples."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from grandopt.compiler.backends.native import wasm
from grandopt.compiler.backends.native.wasm.module import compile_modules
from grandopt.compiler.backends.native.wasm.types import declarations
from grandopt.compiler.program import Program
from grandopt.errors import EngineUnavailableError
from grandopt.signature import Array, Signature
from grandopt.verification.samples import load_samples
from grandopt.workflows.exporting.checking import checked, figures, questions
from grandopt.workflows.exporting.folder import put_folder, require_free
from grandopt.workflows.exporting.node import NodeExecutor, find_node
from grandopt.workflows.exporting.program import carried

MODULES = ("agent.wasm", "agent.scalar.wasm")
HOST = ("agent.js", "example.mjs", "example.html")


@dataclass(frozen=True)
class WrittenWasm:
    """The files that were written, with their sizes, and what was checked of each module before."""

    sizes: Mapping[str, int]
    checks: tuple[str, ...]


def export_wasm(path: Path, folder: Path, *, samples: Path | None = None) -> WrittenWasm:
    """Write the agent of the artifact at `path` as WebAssembly into `folder`; see `write_wasm`.

    Also raises ArtifactError (see `carried`).
    """
    require_free(folder)
    return write_wasm(carried(path), folder, samples=samples)


def write_wasm(program: Program, folder: Path, *, samples: Path | None = None) -> WrittenWasm:
    """Write a program as WebAssembly into `folder`, which is made if it is missing and must be empty.

    Where Node is installed, both modules are run in it first, and held to the float32 rule of verification on
    the observations in `samples` or on draws; nothing is written unless they pass. Raises OutputError when
    the folder cannot be written, SamplesError, VerificationError when an answer is wrong, and what
    `compile_modules` raises.
    """
    require_free(folder)
    recorded = None
    if samples is not None:
        recorded = load_samples(samples, Signature(program.signature.observed(program.contract)))
    files = _files(program)
    checks = _checked(program, files, recorded)
    put_folder(folder, files)
    return WrittenWasm({name: len(content) for name, content in sorted(files.items())}, checks)


def _files(program: Program) -> dict[str, bytes]:
    modules = compile_modules(program)
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


def _checked(
    program: Program, files: Mapping[str, bytes], recorded: Sequence[Array] | None
) -> tuple[str, ...]:
    """A line for each module: what it answered in Node, or why it was not run."""
    try:
        node = find_node()
    except EngineUnavailableError as error:
        return (f"not run: {error}",)
    oracle = questions(program, recorded)
    lines = []
    with tempfile.TemporaryDirectory(prefix="grandopt-wasm-") as name:
        put_folder(Path(name), files)
        for module in MODULES:
            executor = NodeExecutor(node, Path(name), module, program.signature, program.contract)
            with closing(executor):
                found = checked(executor, oracle, f"{module} in Node")
            lines.append(f"{module} in Node: {figures(found)}")
    return tuple(lines)
