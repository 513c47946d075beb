"""A program as WebAssembly: the native engine's C for vectors of 128 bits, and the same with scalars."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from grandopt.compiler.backends.native.backend import stages
from grandopt.compiler.backends.native.build import NativeSource, render
from grandopt.compiler.backends.native.form import Graph, Value
from grandopt.compiler.backends.native.levels import IsaLevel
from grandopt.compiler.backends.native.wasm.toolchain import WasmCompiler, find_wasm_compiler
from grandopt.compiler.program import Program
from grandopt.config.engines import NativeOptions
from grandopt.errors import UnsupportedError
from grandopt.signature import TensorSpec

LEVELS = (
    IsaLevel("wasm32-simd128", "wasm32", 4, 16, ("simd128",), ("-msimd128", "-fno-unroll-loops")),
    IsaLevel("wasm32", "wasm32", 4, 16, (), ("-Oz",)),
)
"""No machine runs them itself: they are none of `levels.LEVELS`. The second has the text of the first,
compiled to scalars: the same sums in the same order. Where the compiler, too, unrolls loops, they run out of
registers; of scalar code the shortest is also the fastest."""

SECTION = "grandopt"
"""The custom section that says what the module takes and gives."""

WEIGHTS_C = """\
__asm__(".section .rodata.weights,\\"\\",@\\n.p2align 6\\n"
        ".globl {name}\\n.hidden {name}\\n.type {name},@object\\n"
        "{name}:\\n.incbin \\"weights.bin\\"\\n.size {name}, {size}\\n");
"""

ENTRY_C = """\
/* The functions of the module: where it expects the addresses of inputs and outputs, and the call. */
static _Alignas(64) unsigned char scratch[{scratch}];
static void *places[{inputs} + {outputs}];

__attribute__((export_name("places"))) void **all_places(void) {{ return places; }}
__attribute__((export_name("run"))) int run(int batch) {{
    return invoke((const void *const *)places, places + {inputs}, batch, scratch);
}}
"""


@dataclass(frozen=True)
class WasmModules:
    """The module with vectors, the one without, and what both say of themselves."""

    simd: bytes
    scalar: bytes
    description: Mapping[str, Any]
    source: NativeSource


def compile_modules(program: Program) -> WasmModules:
    """Both modules of a captured program.

    Raises UnsupportedError when it was not exported, or with the operator that is not covered,
    EngineUnavailableError without a compiler, BuildError with the compiler's first error line.
    """
    compiler = find_wasm_compiler()
    graph = stages(program, NativeOptions()).executed
    source = _rendered(graph, compiler.compiler.version)
    description = described(program, source)
    section = custom_section(SECTION, json.dumps(description, allow_nan=False).encode())
    with ThreadPoolExecutor(max_workers=len(LEVELS)) as pool:  # each waits for its own compiler
        modules = pool.map(lambda level: _module(source, level, compiler), LEVELS)
        simd, scalar = (module + section for module in modules)
    return WasmModules(simd, scalar, description, source)


def _rendered(graph: Graph, version: str) -> NativeSource:
    """C text without branches that depend on numbers, where that can be had."""
    try:
        return render(graph, LEVELS, 1, compiler=version, realtime=True)
    except UnsupportedError:
        return render(graph, LEVELS, 1, compiler=version)


def _module(source: NativeSource, level: IsaLevel, compiler: WasmCompiler) -> bytes:
    parts = (
        source.texts[level],
        resources.files(__package__).joinpath("library.c").read_text(encoding="utf-8"),
        WEIGHTS_C.format(name=source.weights_name, size=len(source.weights)),
        ENTRY_C.format(
            scratch=max(1, source.scratch_bytes),
            inputs=len(source.graph.inputs),
            outputs=len(source.graph.outputs),
        ),
    )
    with tempfile.TemporaryDirectory(prefix="grandopt-wasm-") as name:
        folder = Path(name)
        (folder / "weights.bin").write_bytes(source.weights)
        (folder / "agent.c").write_text("\n".join(parts), encoding="utf-8")
        return compiler.module("agent.c", (*source.flags, *level.flags), folder)


def described(program: Program, source: NativeSource) -> dict[str, Any]:
    """What a host must know of the agent, as plain data; raises UnsupportedError where that is not JSON."""
    signature, contract = program.signature, program.contract
    numbers = [*(contract.low or ()), *(contract.high or ())]
    for tensor in contract.state:
        numbers += tensor.initial if isinstance(tensor.initial, tuple) else [tensor.initial]
    if not all(map(math.isfinite, numbers)):
        raise UnsupportedError(
            f"{program.name}: its contract holds a number that JSON has not (NaN or infinity)"
        )

    def side(values: Sequence[Value], specs: Sequence[TensorSpec]) -> list[dict[str, Any]]:
        return [
            {"name": spec.name, "dtype": value.dtype, "shape": list(spec.shape)}
            for value, spec in zip(values, specs, strict=True)
        ]

    return {
        "name": program.name,
        "inputs": side(source.graph.inputs, signature.inputs),
        "outputs": side(source.graph.outputs, signature.outputs),
        "state": [
            {"input": tensor.input, "output": tensor.output, "initial": tensor.initial}
            for tensor in contract.state
        ],
        "episode_start": contract.episode_start,
        "action": contract.action,
        "low": contract.low,
        "high": contract.high,
    }


def custom_section(name: str, content: bytes) -> bytes:
    """A custom section of a module, which may stand at its end."""
    label = name.encode()
    body = _number(len(label)) + label + content
    return b"\x00" + _number(len(body)) + body


def _number(value: int) -> bytes:
    """An unsigned number in the binary format's variable length (LEB128)."""
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*parts, value))
