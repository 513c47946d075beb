"""A program on its way to plain C."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from grandopt.compiler.backends.native.form import Graph
from grandopt.compiler.backends.native.passes.attend import attend
from grandopt.compiler.backends.native.passes.pipeline import simplify
from grandopt.compiler.backends.native.plain.fixed import FixedLinear, FixedRecurrent, FixedRelay, fixed
from grandopt.compiler.backends.native.plain.header import PlainSource, plain_source
from grandopt.compiler.backends.native.translate import translate
from grandopt.compiler.backends.native.work import multiply_adds
from grandopt.compiler.program import Program
from grandopt.errors import UnsupportedError
from grandopt.signature import Array

PlainPrecision = Literal["float32", "int8"]


@dataclass(frozen=True)
class PlainAgent:
    """An agent in plain C, what one call multiplies and adds, and how many of its products are over codes."""

    source: PlainSource
    multiply_adds: int
    coded_products: int


def plain(
    program: Program, precision: PlainPrecision, calibration: Sequence[Array] | None = None
) -> PlainAgent:
    """The agent as a header; with int8, large products over codes whose ranges are those of `calibration`.

    Raises UnsupportedError where the program was not exported, for an operator that the native engine or
    plain C has not, and for int8 without a calibration or without a product that is large enough.
    """
    if program.exported is None:
        raise UnsupportedError(f"{program.name}: {program.refusal('export')}")
    simplified = simplify(translate(program.name, program.exported), without=(attend,))
    graph: Graph = simplified
    if precision == "int8":
        if calibration is None:
            raise UnsupportedError(
                f"{program.name}: int8 needs to know how large its inputs are, and nothing is known of them; "
                "give recorded observations with --samples, or take float32"
            )
        graph = fixed(simplified, calibration)
    coded = sum(isinstance(op, (FixedLinear, FixedRelay, FixedRecurrent)) for op in graph.ops)
    try:
        source = plain_source(graph, program.signature, program.contract)
    except UnsupportedError as error:
        raise UnsupportedError(f"{program.name}: {error}; for hosts with a system, export --to c") from error
    return PlainAgent(source, sum(map(multiply_adds, simplified.ops)), coded)
