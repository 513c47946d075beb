"""The examples for an agent with recurrent state: a host keeps it, and hands it from call to call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grandopt.compiler.backends.native.build import NativeSource
from grandopt.compiler.backends.native.form import Value
from grandopt.compiler.backends.native.render.text import C_TYPES
from grandopt.signature import Contract, Signature

EXAMPLE_C = """\
/* Reads observations as numbers from stdin until it ends; prints the outputs of each step, one per line. */
#include "{symbol}.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void) {{
{declarations}
    void *scratch = aligned_alloc(64, ({upper}_SCRATCH_BYTES + 64) / 64 * 64);
    double number;
    if (scratch == NULL) return 1;
    for (int step = 0;; ++step) {{
{reads}
        int fault = {symbol}_run({arguments}, 1, scratch);
        if (fault != 0) {{
            fprintf(stderr, "{symbol}_run returned %d\\n", fault);
            return 1;
        }}
{prints}
        /* The new state is the next call's; two sets of pointers that change places would spare the copy. */
{moves}
    }}
}}
"""

EXAMPLE_CPP = """\
// Reads observations as numbers from stdin until it ends; prints the outputs of each step, one per line.
#include "{symbol}.h"

#include <cstdint>
#include <iomanip>
#include <iostream>
#include <vector>

template <typename T> static bool read(std::vector<T> &values) {{
    for (T &value : values) {{
        double number;
        if (!(std::cin >> number)) return false;
        value = static_cast<T>(number);
    }}
    return true;
}}

template <typename T> static void print(const std::vector<T> &values) {{
    for (const T &value : values) std::cout << std::setprecision(9) << static_cast<double>(value) << '\\n';
}}

int main() {{
{declarations}
    alignas(64) static unsigned char scratch[{upper}_SCRATCH_BYTES + 1];
    int steps = 0;
    for (; {reads}; ++steps) {{
        const int fault = {symbol}_run({arguments}, 1, scratch);
        if (fault != 0) {{
            std::cerr << "{symbol}_run returned " << fault << '\\n';
            return 1;
        }}
{prints}
{moves}  // the new state is the next call's
    }}
    return steps == 0;
}}
"""


@dataclass(frozen=True)
class Tensors:
    """The arguments of the C function, by their names there: all in order, and their parts in a step."""

    inputs: tuple[tuple[str, Value], ...]
    outputs: tuple[tuple[str, Value], ...]
    observed: tuple[tuple[str, Value], ...]
    kept: tuple[tuple[str, Value], ...]
    moves: tuple[tuple[str, str], ...]
    initial: dict[str, tuple[float, ...]]

    @property
    def all(self) -> tuple[tuple[str, Value], ...]:
        """Inputs, then outputs."""
        return (*self.inputs, *self.outputs)


def tensors(source: NativeSource, signature: Signature, contract: Contract) -> Tensors:
    """Which argument of the C function is what in a step."""
    taken = {spec.name: f"in{place}" for place, spec in enumerate(signature.inputs)}
    given = {spec.name: f"out{place}" for place, spec in enumerate(signature.outputs)}
    inputs = tuple((f"in{place}", value) for place, value in enumerate(source.graph.inputs))
    outputs = tuple((f"out{place}", value) for place, value in enumerate(source.graph.outputs))
    observed = {taken[spec.name] for spec in signature.observed(contract)}
    moved = {given[tensor.output] for tensor in contract.state}
    elements = {name: value.elements for name, value in inputs}
    initial = {}
    for tensor in contract.state:
        name = taken[tensor.input]
        value = tensor.initial
        initial[name] = value if isinstance(value, tuple) else (value,) * elements[name]
    return Tensors(
        inputs,
        outputs,
        tuple(item for item in inputs if item[0] in observed),
        tuple(item for item in outputs if item[0] not in moved),
        tuple((taken[tensor.input], given[tensor.output]) for tensor in contract.state),
        {name: values for name, values in initial.items() if any(values)},
    )


def note(signature: Signature, contract: Contract) -> str:
    """What the header says about the state; empty for an agent without one."""
    if not contract.state:
        return ""
    taken = [spec.name for spec in signature.inputs]
    given = [spec.name for spec in signature.outputs]
    pairs = ", ".join(
        f"out{given.index(tensor.output)} is the next call's in{taken.index(tensor.input)}"
        for tensor in contract.state
    )
    zero = all(tensor.initial == 0.0 for tensor in contract.state)
    begin = "zeros" if zero else "the values in the examples"
    lines = [f"Recurrent state, kept by the caller: {pairs}.", f"It begins with {begin}; see the examples."]
    if contract.episode_start is not None:
        place = taken.index(contract.episode_start)
        lines.append(
            f"in{place} is 1 where an episode begins, which forgets the state of that sample; else 0."
        )
    return "\n *" + "".join(f"\n * {line}" for line in lines)


def example_c(source: NativeSource, parts: Tensors) -> str:
    """The text of `example.c`."""
    upper = source.symbol.upper()

    def each(name: str, body: str) -> str:
        return f"        for (int i = 0; i < {upper}_{name.upper()}_SIZE; ++i) {body}"

    def read(name: str, value: Value) -> str:
        lines = (
            '            if (scanf("%lf", &number) != 1) return step == 0;',
            f"            {name}[i] = ({C_TYPES[value.dtype]})number;",
        )
        return each(name, "{\n" + "\n".join(lines) + "\n        }")

    def declaration(name: str, value: Value) -> str:
        first = _braced(parts.initial[name]) if name in parts.initial else ""
        equals = f" = {first}" if first else ""
        return f"    static {C_TYPES[value.dtype]} {name}[{upper}_{name.upper()}_SIZE]{equals};"

    return EXAMPLE_C.format(
        symbol=source.symbol,
        upper=upper,
        declarations="\n".join(declaration(*item) for item in parts.all),
        reads="\n".join(read(*item) for item in parts.observed),
        arguments=", ".join(name for name, _ in parts.all),
        prints="\n".join(each(name, f'printf("%.9g\\n", (double){name}[i]);') for name, _ in parts.kept),
        moves="\n".join(f"        memcpy({taken}, {given}, sizeof {taken});" for taken, given in parts.moves),
    )


def example_cpp(source: NativeSource, parts: Tensors) -> str:
    """The text of `example.cpp`."""
    upper = source.symbol.upper()

    def declaration(name: str, value: Value) -> str:
        begin = f"({upper}_{name.upper()}_SIZE)"
        if name in parts.initial:
            begin = _braced(parts.initial[name])
        return f"    std::vector<{C_TYPES[value.dtype]}> {name}{begin};"

    return EXAMPLE_CPP.format(
        symbol=source.symbol,
        upper=upper,
        declarations="\n".join(declaration(*item) for item in parts.all),
        reads=" && ".join(f"read({name})" for name, _ in parts.observed),
        arguments=", ".join(f"{name}.data()" for name, _ in parts.all),
        prints="\n".join(f"        print({name});" for name, _ in parts.kept),
        moves="\n".join(f"        {taken}.swap({given});" for taken, given in parts.moves),
    )


def _braced(values: Sequence[float]) -> str:
    return "{" + ", ".join(f"{value:.9g}" for value in values) + "}"
