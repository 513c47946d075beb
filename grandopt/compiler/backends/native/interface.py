"""What a host that is not Python needs: header, examples and Makefile, with the C source in one archive."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence

from grandopt.compiler.backends.native.build import WEIGHTS_C, Source
from grandopt.compiler.backends.native.form import Value
from grandopt.compiler.backends.native.render.gather import INDEX_FAULT
from grandopt.compiler.backends.native.render.library import TILES_FAULT
from grandopt.compiler.backends.native.render.text import C_TYPES
from grandopt.compiler.backends.native.toolchain import FLAGS
from grandopt.signature import Signature

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time a zip can hold: equal sources give equal bytes."""

HEADER = """\
/* {symbol}: an agent compiled by grandopt. One observation per sample, row-major, the batch first.
 *
{tensors}
 *
 * {symbol}_run is reentrant: it allocates nothing and keeps nothing; threads need a scratch each. Inputs and
 * outputs must not overlap. Denormals count as zero within a call; the caller's mode is restored.
 * Returns 0, or 1: batch below 1 or too large; 2: a pointer is NULL; {fault}: an index is outside its table;
 * {tiles_fault}: the library is one for AMX ("-amx" in its name), and the system, asked when it was loaded,
 * did not permit this process to use the tiles; the library of a lower level works then.
 */
#ifndef {upper}_H
#define {upper}_H

#include <stdint.h>

#define {upper}_SCRATCH_BYTES {scratch} /* whatever the batch; aligned to 64 bytes it is fastest */
{sizes}

#ifdef __cplusplus
extern "C" {{
#endif

int {symbol}_run({parameters});

#ifdef __cplusplus
}}
#endif
#endif
"""

EXAMPLE_C = """\
/* Reads one observation as numbers from stdin, prints the outputs, one per line. */
#include "{symbol}.h"

#include <stdio.h>
#include <stdlib.h>

int main(void) {{
{declarations}
    void *scratch = aligned_alloc(64, ({upper}_SCRATCH_BYTES + 64) / 64 * 64);
    double number;
    if (scratch == NULL) return 1;
{reads}
    int fault = {symbol}_run({arguments}, 1, scratch);
    free(scratch);
    if (fault != 0) {{
        fprintf(stderr, "{symbol}_run returned %d\\n", fault);
        return 1;
    }}
{prints}
    return 0;
}}
"""

EXAMPLE_CPP = """\
// Reads one observation as numbers from stdin, prints the outputs, one per line.
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
    std::vector<unsigned char> scratch({upper}_SCRATCH_BYTES + 1);
    if ({reads}) {{
        std::cerr << "the observation is too short\\n";
        return 1;
    }}
    const int fault = {symbol}_run({arguments}, 1, scratch.data());
    if (fault != 0) {{
        std::cerr << "{symbol}_run returned " << fault << '\\n';
        return 1;
    }}
{prints}
}}
"""

MAKEFILE = """\
# Builds the libraries and the examples for one CPU feature level: make LEVEL={levels}
LEVEL ?= {level}
CC ?= cc
CXX ?= c++
AR ?= ar
{features}
CFLAGS = {flags} $(FEATURES_$(LEVEL))

all: lib{symbol}.so lib{symbol}.a example_c example_cpp

agent.o: agent.$(LEVEL).c
\t$(CC) $(CFLAGS) -c $< -o $@
weights.o: weights.c weights.bin
\t$(CC) $(CFLAGS) -c $< -o $@
lib{symbol}.so: agent.o weights.o
\t$(CC) -shared $^ -o $@ -lm
lib{symbol}.a: agent.o weights.o
\t$(AR) rcs $@ $^
example_c: example.c {symbol}.h lib{symbol}.a
\t$(CC) -O2 -std=c11 $< lib{symbol}.a -o $@ -lm
example_cpp: example.cpp {symbol}.h lib{symbol}.a
\t$(CXX) -O2 -std=c++17 $< lib{symbol}.a -o $@ -lm
clean:
\trm -f agent.o weights.o lib{symbol}.so lib{symbol}.a example_c example_cpp
.PHONY: all clean
"""


def source_archive(source: Source, signature: Signature) -> bytes:
    """A zip of everything but the weights' bytes, which lie in the shared objects."""
    symbol = source.symbol
    files = {
        f"{symbol}.h": header(source, signature),
        "weights.c": WEIGHTS_C.format(symbol=symbol),
        "example.c": _example_c(source),
        "example.cpp": _example_cpp(source),
        "Makefile": _makefile(source),
        **{f"agent.{level.name}.c": text for level, text in source.texts.items()},
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), text, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def header(source: Source, signature: Signature) -> str:
    """The text of `<symbol>.h`."""
    named = [
        (f"{side}{i}", value, spec.name)
        for side, values, specs in (
            ("in", source.graph.inputs, signature.inputs),
            ("out", source.graph.outputs, signature.outputs),
        )
        for i, (value, spec) in enumerate(zip(values, specs, strict=True))
    ]
    upper = source.symbol.upper()
    parameters = [
        f"{'const ' if name.startswith('in') else ''}{C_TYPES[value.dtype]} *{name}"
        for name, value, _ in named
    ]
    return HEADER.format(
        symbol=source.symbol,
        tiles_fault=TILES_FAULT,
        upper=upper,
        tensors="\n".join(
            f" *   {name}: {label.replace('*/', '')}, {value.dtype} {['batch', *value.shape[1:]]}".replace(
                "'", ""
            )
            for name, value, label in named
        ),
        scratch=source.scratch_bytes,
        sizes="\n".join(
            f"#define {upper}_{name.upper()}_SIZE {value.elements} /* elements of one sample */"
            for name, value, _ in named
        ),
        parameters=", ".join([*parameters, "int64_t batch", "void *scratch"]),
        fault=INDEX_FAULT,
    )


def _named(source: Source) -> tuple[list[tuple[str, Value]], list[tuple[str, Value]]]:
    inputs = [(f"in{i}", value) for i, value in enumerate(source.graph.inputs)]
    return inputs, [(f"out{i}", value) for i, value in enumerate(source.graph.outputs)]


def _example_c(source: Source) -> str:
    inputs, outputs = _named(source)
    upper = source.symbol.upper()

    def each(name: str, body: str) -> str:
        return f"    for (int i = 0; i < {upper}_{name.upper()}_SIZE; ++i) {body}"

    def read(name: str, value: Value) -> str:
        target = f"{name}[i] = ({C_TYPES[value.dtype]})number;"
        return each(name, f'{{\n        if (scanf("%lf", &number) != 1) return 1;\n        {target}\n    }}')

    return EXAMPLE_C.format(
        symbol=source.symbol,
        upper=upper,
        declarations="\n".join(
            f"    static {C_TYPES[v.dtype]} {name}[{upper}_{name.upper()}_SIZE];"
            for name, v in (*inputs, *outputs)
        ),
        reads="\n".join(read(name, value) for name, value in inputs),
        arguments=_joined(inputs, outputs),
        prints="\n".join(each(name, f'printf("%.9g\\n", (double){name}[i]);') for name, _ in outputs),
    )


def _example_cpp(source: Source) -> str:
    inputs, outputs = _named(source)
    upper = source.symbol.upper()
    return EXAMPLE_CPP.format(
        symbol=source.symbol,
        upper=upper,
        declarations="\n".join(
            f"    std::vector<{C_TYPES[v.dtype]}> {name}({upper}_{name.upper()}_SIZE);"
            for name, v in (*inputs, *outputs)
        ),
        reads=" || ".join(f"!read({name})" for name, _ in inputs),
        arguments=_joined(inputs, outputs, ".data()"),
        prints="\n".join(f"    print({name});" for name, _ in outputs),
    )


def _joined(
    inputs: Sequence[tuple[str, Value]], outputs: Sequence[tuple[str, Value]], suffix: str = ""
) -> str:
    return ", ".join(f"{name}{suffix}" for name, _ in (*inputs, *outputs))


def _makefile(source: Source) -> str:
    levels = list(source.texts)
    return MAKEFILE.format(
        symbol=source.symbol,
        level=levels[-1].name,
        levels="|".join(level.name for level in levels),
        features="\n".join(f"FEATURES_{level.name} = {' '.join(level.flags)}" for level in levels),
        flags=" ".join(FLAGS),
    )
