"""What the functions of a header take: observations and actions by name, the recurrent state in a struct."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from grandopt.compiler.backends.native.form import Graph, Value
from grandopt.compiler.backends.native.render.text import C_TYPES
from grandopt.signature import Contract, Signature, TensorSpec

KEYWORDS = frozenset(
    (
        "alignas", "alignof", "and", "asm", "auto", "bitand", "bitor", "bool", "break", "case",
        "catch", "char", "class", "compl", "const", "constexpr", "continue", "default", "delete",
        "do", "double", "else", "enum", "explicit", "export", "extern", "false", "float", "for",
        "friend", "goto", "if", "inline", "int", "long", "mutable", "namespace", "new", "not",
        "operator", "or", "private", "protected", "public", "register", "restrict", "return",
        "short", "signed", "sizeof", "static", "struct", "switch", "template", "this", "throw",
        "true", "try", "typedef", "typename", "union", "unsigned", "using", "virtual", "void",
        "volatile", "while", "xor",
    )
)  # fmt: skip
"""Words of C and C++."""
LOCALS = frozenset(
    (
        "all", "at", "before", "best", "factor", "fresh", "inside", "kept", "mean", "memcpy",
        "memory", "number", "one", "past", "reset", "share", "squares", "step", "sum", "tainted",
        "take", "top", "total", "update",
    )
)  # fmt: skip
"""Names that the text of the steps has for its own; letters with digits behind them are others."""


@dataclass(frozen=True)
class Argument:
    """A tensor of an agent under its name in C; a `label` is its own name."""

    name: str
    label: str
    value: Value
    place: int

    @property
    def kind(self) -> str:
        """Its element in C."""
        return C_TYPES[self.value.dtype]


@dataclass(frozen=True)
class Interface:
    """The arguments of `<symbol>_run`, in order, and the fields of `<symbol>_state`: the input that each one
    is, the output that becomes its next value, and the numbers that it begins with."""

    inputs: tuple[Argument, ...]
    outputs: tuple[Argument, ...]
    state: tuple[tuple[Argument, Argument, tuple[float, ...]], ...]

    @property
    def parameters(self) -> list[str]:
        """The parameters without the state."""
        return [
            *(f"const {item.kind} *{item.name}" for item in self.inputs),
            *(f"{item.kind} *{item.name}" for item in self.outputs),
        ]


def interface(graph: Graph, signature: Signature, contract: Contract) -> Interface:
    """The names of an agent's tensors in C, each once."""
    arguments = {*KEYWORDS, *LOCALS}
    fields = {*KEYWORDS}

    def argument(label: str, value: Value, place: int, *, field: bool = False) -> Argument:
        used = fields if field else arguments
        plain = re.sub(r"\W", "_", label, flags=re.ASCII).strip("_") or "value"
        plain = f"v{plain}" if plain[0].isdigit() else plain
        name = plain
        while name in used or (not field and re.fullmatch(r"[cgijkprst]\d*", name)):
            name = f"{name}_{place}"
        used.add(name)
        return Argument(name, label, value, place)

    taken = {spec.name: (place, value) for place, (spec, value) in _paired(signature.inputs, graph.inputs)}
    given = {spec.name: (place, value) for place, (spec, value) in _paired(signature.outputs, graph.outputs)}
    state = []
    for tensor in contract.state:
        (place, value), (after, result) = taken.pop(tensor.input), given.pop(tensor.output)
        first = tensor.initial if isinstance(tensor.initial, tuple) else (tensor.initial,) * value.elements
        held = argument(tensor.input, value, place, field=True)
        state.append((held, argument(f"{tensor.input}_next", result, after, field=True), first))
    return Interface(
        tuple(argument(name, value, place) for name, (place, value) in taken.items()),
        tuple(argument(name, value, place) for name, (place, value) in given.items()),
        tuple(state),
    )


def _paired(
    specs: Sequence[TensorSpec], values: Sequence[Value]
) -> list[tuple[int, tuple[TensorSpec, Value]]]:
    return list(enumerate(zip(specs, values, strict=True)))
