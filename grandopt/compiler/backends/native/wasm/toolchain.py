"""A compiler and a linker for WebAssembly: clang with wasm-ld, or those of the package `ziglang`."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from grandopt.compiler.backends.native.toolchain import TIMEOUT_S, ZIG, Compiler, probe
from grandopt.errors import EngineUnavailableError

LINKING = (
    "--no-entry",
    "--stack-first",  # what the stack has no room for is then a trap, and no other value is overwritten
    "--strip-all",
    "--gc-sections",
    "--export=__heap_base",
)
COMPILING = ("-fno-pic", "-nostdlib", "-nostdlibinc", "-ffunction-sections")
"""Beside the native engine's flags: code that is not moved, and no library."""


@dataclass(frozen=True)
class WasmCompiler:
    """A C compiler for wasm32, how it is told so, and LLVM's linker for it."""

    compiler: Compiler
    target: tuple[str, ...]
    linker: tuple[str, ...]

    def module(self, source: str, flags: tuple[str, ...], folder: Path) -> bytes:
        """The module of a C file in `folder`; raises BuildError when compiler or linker fails."""
        headers = str(resources.files(__package__).joinpath("include"))
        given = (*self.target, *flags, *COMPILING, "-isystem", headers)
        self.compiler.run([*given, "-c", source, "-o", "agent.o"], folder)
        Compiler(self.linker, "").run([*LINKING, "agent.o", "-o", "agent.wasm"], folder)
        return (folder / "agent.wasm").read_bytes()


def find_wasm_compiler() -> WasmCompiler:
    """clang and wasm-ld, or else those of the package `ziglang`; raises EngineUnavailableError without."""
    if shutil.which("clang") and shutil.which("wasm-ld") and _knows_wasm():
        return WasmCompiler(probe(("clang",)), ("--target=wasm32",), ("wasm-ld",))
    if importlib.util.find_spec("ziglang") is not None:
        return WasmCompiler(probe(ZIG), ("-target", "wasm32-freestanding"), (*ZIG[:-1], "wasm-ld"))
    raise EngineUnavailableError(
        "no compiler for WebAssembly found: install clang and lld, or `pip install ziglang`",
        remedy="pip install ziglang",
    )


def _knows_wasm() -> bool:
    """Whether clang was built with this target; that of macOS was not."""
    done = subprocess.run(
        ["clang", "--print-targets"], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    return "wasm32" in done.stdout
