"""What a host that is not Python needs, in one archive: header, libraries, source, examples, Makefile."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence

from grandopt.compiler.backends.native import stepping
from grandopt.compiler.backends.native.build import WEIGHTS_C, NativeSource
from grandopt.compiler.backends.native.form import Value
from grandopt.compiler.backends.native.render.entry import NO_LEVEL
from grandopt.compiler.backends.native.render.gather import INDEX_FAULT
from grandopt.compiler.backends.native.render.library import MISALIGNED
from grandopt.compiler.backends.native.render.text import C_TYPES
from grandopt.signature import Contract, Signature

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time a zip can hold: equal sources give equal bytes."""

HEADER = """\
/* {symbol}: an agent compiled by grandopt. One observation per sample, row-major, the batch first.
 *
{tensors}{state}
 *
 * {symbol}_run is reentrant: it allocates nothing and keeps nothing; threads need a scratch each. Inputs and
 * outputs must not overlap. Denormals count as zero within a call; the caller's mode is restored.
 * Returns 0, or 1: batch below 1 or too large; 2: a pointer is NULL; {fault}: an index is outside its table;
 * {misaligned}: scratch is not aligned to 64 bytes. Nothing is written after 1, 2 or {misaligned}.
 * {no_level}: the CPU has none of the library's feature levels.
 *
 * {symbol}_level names the one that is in use, or "none". It is chosen when the library is loaded, the first
 * of these that CPU and system offer: {levels}.
 */
#ifndef {upper}_H
#define {upper}_H

#include <stdint.h>

#define {upper}_SCRATCH_BYTES {scratch} /* whatever the batch; must be aligned to 64 bytes */
{sizes}

#ifdef __cplusplus
extern "C" {{
#endif

int {symbol}_run({parameters});
const char *{symbol}_level(void);

#ifdef __cplusplus
}}
#endif
#endif
"""

EXAMPLE_C = """\
/* Reads one observation as numbers from stdin, prints the outputs, one per line. */
#include "{symbol}.h"

#include <stdio.h>

int main(void) {{
{declarations}
    static _Alignas(64) unsigned char scratch[{upper}_SCRATCH_BYTES + 1];
    double number;
{reads}
    int fault = {symbol}_run({arguments}, 1, scratch);
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
    alignas(64) static unsigned char scratch[{upper}_SCRATCH_BYTES + 1];
    if ({reads}) {{
        std::cerr << "the observation is too short\\n";
        return 1;
    }}
    const int fault = {symbol}_run({arguments}, 1, scratch);
    if (fault != 0) {{
        std::cerr << "{symbol}_run returned " << fault << '\\n';
        return 1;
    }}
{prints}
}}
"""

MAKEFILE = """\
# Builds the examples, each with the static and with the shared library, which hold the code of these feature
# levels and take the first that the CPU has: {levels}.
# `make libraries` compiles both libraries again, from the C source.
CC ?= cc
CXX ?= c++
AR ?= ar
CFLAGS = {flags}
STATIC = lib{symbol}.a
SHARED = lib{symbol}.so
OBJECTS = {objects} weights.o run.o
EXAMPLES ?= example_c example_cpp example_c_shared example_cpp_shared

all: $(EXAMPLES)

example_c: example.c {symbol}.h $(STATIC)
\t$(CC) -O2 -std=c11 $< $(STATIC) -o $@ -lm
example_cpp: example.cpp {symbol}.h $(STATIC)
\t$(CXX) -O2 -std=c++17 $< $(STATIC) -o $@ -lm
example_c_shared: example.c {symbol}.h $(SHARED)
\t$(CC) -O2 -std=c11 $< $(SHARED) -Wl,-rpath,'$$ORIGIN' -o $@
example_cpp_shared: example.cpp {symbol}.h $(SHARED)
\t$(CXX) -O2 -std=c++17 $< $(SHARED) -Wl,-rpath,'$$ORIGIN' -o $@

libraries:
{compilations}
\t$(CC) $(CFLAGS) -c weights.c -o weights.o
\t$(CC) $(CFLAGS) -c run.c -o run.o
\t$(CC) {linking}-shared $(OBJECTS) -o $(SHARED) -lm
\trm -f $(STATIC)
\t$(AR) rcs $(STATIC) $(OBJECTS)
clean:
\trm -f $(OBJECTS) $(EXAMPLES)
.PHONY: all libraries clean
"""


def source_archive(
    source: NativeSource, signature: Signature, contract: Contract, libraries: Mapping[str, bytes]
) -> bytes:
    """A zip of everything but the weights' bytes, which lie in the shared objects.

    `libraries` are those for hosts by file name; where they hold the weights, the zip's have zeros.
    """
    hollow = {
        name: content.replace(source.weights, bytes(len(source.weights)), 1)
        for name, content in libraries.items()
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in source_files(source, signature, contract).items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), text, zipfile.ZIP_DEFLATED)
        for name, content in hollow.items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def source_files(source: NativeSource, signature: Signature, contract: Contract) -> dict[str, str]:
    """Header, C source, examples and Makefile by file name; what they lack are the bytes `weights.bin`."""
    symbol = source.symbol
    steps = stepping.tensors(source, signature, contract) if contract.state else None
    return {
        f"{symbol}.h": header(source, signature, contract),
        "weights.c": WEIGHTS_C.format(name=source.weights_name),
        "example.c": _example_c(source) if steps is None else stepping.example_c(source, steps),
        "example.cpp": _example_cpp(source) if steps is None else stepping.example_cpp(source, steps),
        "Makefile": _makefile(source),
        **{f"agent.{level.name}.c": text for level, text in source.texts.items()},
        "run.c": source.entry,
    }


def header(source: NativeSource, signature: Signature, contract: Contract) -> str:
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
        no_level=NO_LEVEL,
        levels=_listed(source),
        upper=upper,
        tensors="\n".join(
            f" *   {name}: {label.replace('*/', '')}, {value.dtype} {['batch', *value.shape[1:]]}".replace(
                "'", ""
            )
            for name, value, label in named
        ),
        state=stepping.note(signature, contract),
        scratch=source.scratch_bytes,
        sizes="\n".join(
            f"#define {upper}_{name.upper()}_SIZE {value.elements} /* elements of one sample */"
            for name, value, _ in named
        ),
        parameters=", ".join([*parameters, "int64_t batch", "void *scratch"]),
        fault=INDEX_FAULT,
        misaligned=MISALIGNED,
    )


def _named(source: NativeSource) -> tuple[list[tuple[str, Value]], list[tuple[str, Value]]]:
    inputs = [(f"in{i}", value) for i, value in enumerate(source.graph.inputs)]
    return inputs, [(f"out{i}", value) for i, value in enumerate(source.graph.outputs)]


def _example_c(source: NativeSource) -> str:
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


def _example_cpp(source: NativeSource) -> str:
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


def _makefile(source: NativeSource) -> str:
    return MAKEFILE.format(
        symbol=source.symbol,
        levels=_listed(source),
        flags=" ".join(source.flags),
        linking=" ".join([*source.linking, ""]),
        objects=" ".join(f"agent.{level.name}.o" for level in source.texts),
        compilations="\n".join(
            f"\t$(CC) $(CFLAGS) {' '.join(level.flags)} -c agent.{level.name}.c -o agent.{level.name}.o"
            for level in source.texts
        ),
    )


def _listed(source: NativeSource) -> str:
    return ", ".join(level.name for level in source.texts)
