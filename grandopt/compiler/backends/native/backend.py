"""The native engine: the stages from an exported program to shared objects, in order."""

from __future__ import annotations

import hashlib
import math
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources

from grandopt.artifacts.machine import cpu_features
from grandopt.compiler.backends.base import Lowered
from grandopt.compiler.backends.native.binding import binding_sources, compile_binding
from grandopt.compiler.backends.native.build import compile_libraries, render
from grandopt.compiler.backends.native.check import check
from grandopt.compiler.backends.native.form import (
    Attention,
    Convolve,
    Graph,
    Linear,
    Op,
    Quantize,
    Recurrent,
    Value,
)
from grandopt.compiler.backends.native.interface import source_archive
from grandopt.compiler.backends.native.levels import IsaLevel, StoredWeights, levels_for
from grandopt.compiler.backends.native.passes.mix import layers_of, mixed
from grandopt.compiler.backends.native.passes.mix_judge import Meanings, MixLimits
from grandopt.compiler.backends.native.passes.observing import observing
from grandopt.compiler.backends.native.passes.pipeline import simplify
from grandopt.compiler.backends.native.passes.quantize import quantize
from grandopt.compiler.backends.native.passes.rectified import spared_weights
from grandopt.compiler.backends.native.passes.unfold import unfold
from grandopt.compiler.backends.native.render.weights import Precision
from grandopt.compiler.backends.native.toolchain import find_compiler
from grandopt.compiler.backends.native.translate import translate
from grandopt.compiler.backends.native.work import multiply_adds
from grandopt.compiler.program import Program
from grandopt.config.engines import NativeOptions
from grandopt.errors import BuildError, UnsupportedError, first_line
from grandopt.runtime.executors.native import BINDING
from grandopt.signature import Array, TensorSpec

RELEASE_NS = 20_000
"""Calls estimated to be longer release the GIL."""
FAULTS = (TypeError, ValueError, LookupError, AttributeError, AssertionError, ArithmeticError, RuntimeError)
"""What a stage raises where it is wrong itself."""
AVX2_MACS_PER_NS = 16
"""Multiply-adds per nanosecond for that estimate: half of one AVX2 core's peak at 2 GHz."""


def lower(program: Program, options: NativeOptions, calibration: Sequence[Array] | None = None) -> Lowered:
    """The program as one shared object per feature level, and the binding that calls them. What C hosts
    need is in an archive: source, and one library that holds all levels.

    With int8 weights, `calibration`, recorded samples of [n, *shape] per input, gives raw observations a
    scale per feature where their sizes differ; the option "scaled" names the values that have one. With mixed
    weights they say how much each layer matters; the option "layers" has the layers by their precision.
    Raises UnsupportedError when the program was not exported, or with the operator that is not covered;
    EngineUnavailableError without a C compiler; BuildError with the compiler's first error line.
    """
    if program.exported is None:
        raise UnsupportedError(f"{program.name}: {program.refusal('export')}")
    compiler = find_compiler()
    with _own_faults(program.name):
        made = stages(program, options, calibration)
        graph, macs = made.executed, sum(map(multiply_adds, made.simplified.ops))
    levels = _levels(graph, options, made.stored)
    with _own_faults(program.name):
        source = render(
            graph, levels, options.tile, made.precision, compiler.version, made.exact, options.realtime
        )
        if not options.levels:
            source = source.without_idle_tiles()
    levels = tuple(source.texts)
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
            "scaled": [op.x.name for op in graph.ops if isinstance(op, Quantize) and op.scaling],
            **({"layers": made.layers} if made.layers else {}),
            "levels": {level.name: list(level.features) for level in levels},
            "symbol": source.symbol,
            "invokes": {level.name: invoke for level, invoke in source.invokes.items()},
            "weights_offset": libraries.loaded[levels[0].name].find(source.weights),
            "hollow_offsets": {name: content.find(source.weights) for name, content in for_hosts.items()},
            "weights_bytes": len(source.weights),
            "scratch_bytes": source.scratch_bytes,
            "multiply_adds": macs,
            "spared_weights": 0 if options.realtime else spared_weights(graph),
            "release_batch": max(1, math.ceil(RELEASE_NS * AVX2_MACS_PER_NS / max(1, macs))),
            "compiler": compiler.version,
            "flags": [*source.flags, *sorted({flag for level in levels for flag in level.flags})],
        },
        cpu_features=tuple(sorted(set.intersection(*(set(level.features) for level in levels)))),
    )


def _levels(graph: Graph, options: NativeOptions, stored: frozenset[StoredWeights]) -> tuple[IsaLevel, ...]:
    """The levels to build for: under the real-time contract those without tiles, unless these are named."""
    levels = levels_for(
        platform.machine(),
        options.levels,
        weights=stored,
        paired=any(isinstance(op, Attention) and op.rounded for op in graph.ops),
        vector_bits=options.vector_bits,
        present=cpu_features(),
    )
    left_out = options.realtime and not options.levels
    return tuple(level for level in levels if not (left_out and level.tiles))


@contextmanager
def _own_faults(name: str) -> Iterator[None]:
    """What a stage raises that is no error of ours is a fault of this engine, and fails this build alone."""
    try:
        yield
    except FAULTS as error:
        raise BuildError(
            f"{name}: the native engine failed on it ({type(error).__name__}: {first_line(error)}); "
            "this is a defect of grandopt, other engines are not touched by it"
        ) from error


@dataclass(frozen=True)
class BuildStages:
    """A program on its way: as it was translated, simplified, and with its codes. The weights of products in
    the last are stored in `precision`, those of `exact` in float32. All in all they are `stored` in these
    ways; `layers` has those of a mixture by theirs."""

    translated: Graph
    simplified: Graph
    executed: Graph
    precision: Precision
    exact: frozenset[Op]
    stored: frozenset[StoredWeights]
    layers: Mapping[StoredWeights, Sequence[str]] = field(default_factory=dict)


def stages(
    program: Program, options: NativeOptions, calibration: Sequence[Array] | None = None
) -> BuildStages:
    """The graphs that a program goes through; raises UnsupportedError as `lower` does."""
    if program.exported is None:
        raise UnsupportedError(f"{program.name}: {program.refusal('export')}")
    translated = translate(program.name, program.exported)
    simplified = simplify(translated)
    _check_boundary(simplified, program)
    exact = observing(simplified) if options.inputs_float32 else frozenset()
    if options.weights == "mixed":
        return _mixed_stages(program, translated, simplified, exact, options, calibration)
    executed = simplified
    if options.weights != "float32":
        simplified = executed = check(unfold(simplified, exact), "unfold")
    if options.weights == "int8":
        executed = check(quantize(simplified, exact, calibration), "quantize")
    precision: Precision = "bfloat16" if options.weights == "bfloat16" else "float32"
    _check_left(simplified, exact, precision)
    return BuildStages(translated, simplified, executed, precision, exact, frozenset({options.weights}))


def _mixed_stages(
    program: Program,
    translated: Graph,
    simplified: Graph,
    exact: frozenset[Op],
    options: NativeOptions,
    samples: Sequence[Array] | None,
) -> BuildStages:
    """The stages of a graph whose products have weights of different precisions."""
    if samples is None or options.error is None or options.agreement is None:
        raise UnsupportedError(
            f"{translated.name}: which layers may be of fewer bits is measured on observations, within a "
            f"limit; there is no {'limit' if samples is not None else 'observation'}"
        )
    whole = check(unfold(simplified, exact), "unfold")
    limits = MixLimits(options.error, 1 - options.agreement, options.share)
    mixture = mixed(whole, exact, _meanings(program), samples, limits, scaled=options.scaled)
    kept = frozenset(op for op in simplified.ops if mixture.get(op.outputs[0], "float32") == "float32")
    simplified = executed = check(unfold(simplified, kept), "unfold")
    halved, coded = (
        frozenset(op for op in simplified.ops if mixture.get(op.outputs[0]) == kind)
        for kind in ("bfloat16", "int8")
    )
    if coded:
        others = frozenset(simplified.ops) - coded
        executed = check(quantize(simplified, others, samples if options.scaled else None), "quantize")
    return BuildStages(
        translated,
        simplified,
        executed,
        "bfloat16",
        frozenset(executed.ops) - halved,
        frozenset(mixture.values()) - {"float32"},
        layers_of(simplified, mixture),
    )


def _meanings(program: Program) -> Meanings:
    """What the outputs are for: where nothing is declared, the largest element of any may count."""
    outputs, contract = program.signature.outputs, program.contract
    declared = contract.action != "none" or any(spec.role != "value" for spec in outputs)
    scores, actions = set[int](), set[int]()
    for place, spec in enumerate(outputs):
        if spec.role == "action" and spec.dtype.startswith("float"):
            actions.add(place)
        elif not declared or spec.role in ("scores", "action"):
            scores.add(place)
    return Meanings(frozenset(scores), frozenset(actions), contract.low, contract.high)


def identity() -> dict[str, str]:
    """The C compiler and the C sources that every build goes through, for the keys of stored builds.

    Raises EngineUnavailableError without a C compiler.
    """
    compiler = find_compiler()
    headers = resources.files("grandopt.compiler.backends.native.render")
    found = {file.name: file for file in headers.iterdir() if file.name.endswith(".h")}
    texts = [found[name].read_bytes() for name in sorted(found)]
    texts += [text.encode() for text in binding_sources().values()]
    digest = hashlib.sha256(b"".join(texts)).hexdigest()
    return {"c_compiler": f"{' '.join(compiler.command)}: {compiler.version}", "c_sources": digest}


def _check_left(graph: Graph, exact: frozenset[Op], precision: Precision) -> None:
    """Raise UnsupportedError where no product is left for the reduced precision."""
    if precision == "float32" or not exact:
        return
    if not any(isinstance(op, (Linear, Convolve, Recurrent)) and op not in exact for op in graph.ops):
        raise UnsupportedError(
            f"{graph.name}: all its products read raw observations, which stay in float32: none is left for "
            f"{precision}"
        )


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
