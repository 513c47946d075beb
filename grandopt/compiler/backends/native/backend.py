"""The native engine: the stages from an exported program to shared objects, in order."""

from __future__ import annotations

import hashlib
import math
import platform
from collections.abc import Sequence
from importlib import resources

from grandopt.compiler.backends.base import Lowered
from grandopt.compiler.backends.native.binding import binding_sources, compile_binding
from grandopt.compiler.backends.native.build import compile_libraries, render
from grandopt.compiler.backends.native.check import check
from grandopt.compiler.backends.native.form import Graph, Linear, MatMul, Recurrent, Value
from grandopt.compiler.backends.native.interface import source_archive
from grandopt.compiler.backends.native.levels import levels_for
from grandopt.compiler.backends.native.passes.pipeline import simplify
from grandopt.compiler.backends.native.passes.quantize import quantize
from grandopt.compiler.backends.native.render.weights import Precision
from grandopt.compiler.backends.native.toolchain import FLAGS, find_compiler
from grandopt.compiler.backends.native.translate import translate
from grandopt.compiler.program import Program
from grandopt.config.schema import NativeOptions
from grandopt.errors import UnsupportedError
from grandopt.runtime.executors.native import BINDING
from grandopt.signature import TensorSpec

RELEASE_NS = 20_000
"""Calls estimated to be longer release the GIL."""
MACS_PER_NS = 16
"""Multiply-adds per nanosecond for that estimate: half of one AVX2 core's peak at 2 GHz."""


def lower(program: Program, options: NativeOptions) -> Lowered:
    """The program as one shared object per feature level, and the binding that calls them.

    Raises UnsupportedError when the program was not exported, or with the operator that is not covered;
    EngineUnavailableError without a C compiler; BuildError with the compiler's first error line.
    """
    if program.exported is None:
        raise UnsupportedError(f"{program.name}: {program.refusal('export')}")
    compiler = find_compiler()
    levels = levels_for(
        platform.machine(),
        options.levels,
        reduced=options.weights != "float32",
        vector_bits=options.vector_bits,
    )
    graph = simplify(translate(program.name, program.exported))
    _check_boundary(graph, program)
    macs = multiply_adds(graph)
    if options.weights == "int8":
        graph = check(quantize(graph), "quantize")
    precision: Precision = "bfloat16" if options.weights == "bfloat16" else "float32"
    source = render(graph, levels, options.tile, precision, compiler.version)
    libraries = compile_libraries(source, compiler)
    for_hosts = libraries.for_hosts(source.symbol)
    files = {
        **{f"agent.{level}.so": content for level, content in libraries.loaded.items()},
        BINDING: compile_binding(compiler),
        "source.zip": source_archive(source, program.signature, program.contract, for_hosts),
    }
    return Lowered(
        files=files,
        options={
            **options.model_dump(mode="json"),
            "levels": {level.name: list(level.features) for level in levels},
            "symbol": source.symbol,
            "invokes": {level.name: invoke for level, invoke in source.invokes.items()},
            "weights_offset": libraries.loaded[levels[0].name].find(source.weights),
            "hollow_offsets": {name: content.find(source.weights) for name, content in for_hosts.items()},
            "weights_bytes": len(source.weights),
            "scratch_bytes": source.scratch_bytes,
            "release_batch": max(1, math.ceil(RELEASE_NS * MACS_PER_NS / max(1, macs))),
            "compiler": compiler.version,
            "flags": [*FLAGS, *sorted({flag for level in levels for flag in level.flags})],
        },
        cpu_features=tuple(sorted(set.intersection(*(set(level.features) for level in levels)))),
    )


def identity() -> dict[str, str]:
    """The C compiler and the C sources that every build goes through, for the keys of stored builds.

    Raises EngineUnavailableError without a C compiler.
    """
    compiler = find_compiler()
    headers = resources.files("grandopt.compiler.backends.native.render")
    names = ("simd.h", "mathematics.h", "tiles.h", "quantized.h")
    texts = [headers.joinpath(name).read_bytes() for name in names]
    texts += [text.encode() for text in binding_sources().values()]
    digest = hashlib.sha256(b"".join(texts)).hexdigest()
    return {"c_compiler": f"{' '.join(compiler.command)}: {compiler.version}", "c_sources": digest}


def multiply_adds(graph: Graph) -> int:
    """Multiply-adds of one sample in products and recurrences."""
    total = 0
    for op in graph.ops:
        if isinstance(op, Linear):
            total += op.output.elements * op.inputs[1].shape[1]
        elif isinstance(op, MatMul):
            total += op.output.elements * op.inputs[0].shape[-1]
        elif isinstance(op, Recurrent):
            total += op.inputs[0].shape[0] * op.inputs[1].elements
    return total


def _check_boundary(graph: Graph, program: Program) -> None:
    """What the exported program takes and gives must be what the signature promises."""
    signature = program.signature
    _check_side(program.name, "input", graph.inputs, signature.inputs)
    _check_side(program.name, "output", graph.outputs, signature.outputs)


def _check_side(name: str, side: str, values: Sequence[Value], specs: Sequence[TensorSpec]) -> None:
    if len(values) != len(specs):
        raise UnsupportedError(
            f"{name}: the exported program has {len(values)} {side}s, declared are {len(specs)}"
        )
    for value, spec in zip(values, specs, strict=True):
        if value.shape != (1, *spec.shape) or value.dtype != spec.dtype:
            raise UnsupportedError(
                f"{name}: {side} {spec.name!r} is {value.dtype} {list(value.shape[1:])} in the exported "
                f"program, declared is {spec.dtype} {list(spec.shape)}"
            )
