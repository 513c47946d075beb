"""The C source of an agent for another architecture than it was built on, to be compiled there or across."""

from __future__ import annotations

from grandopt.compiler.backends.native.backend import stages
from grandopt.compiler.backends.native.build import render
from grandopt.compiler.backends.native.form import Attention
from grandopt.compiler.backends.native.interface import source_files
from grandopt.compiler.backends.native.levels import levels_for
from grandopt.compiler.program import Program
from grandopt.config.engines import NativeOptions

TOOLS = """\
# The compiler's own C++ and archiver, also where it is one for another machine; no C++, no examples in it.
CXX := $(patsubst %clang,%clang++,$(patsubst %gcc,%g++,$(CC)))
AR := $(shell $(CC) -print-prog-name=ar)
ifeq ($(shell command -v $(firstword $(CXX)) 2>/dev/null),)
EXAMPLES := example_c example_c_shared
endif
"""

LIBRARIES = """\

# There are none here until they are compiled.
$(STATIC): $(wildcard *.c) weights.bin
\t$(MAKE) libraries
$(SHARED): $(STATIC)
"""


def source_for(program: Program, options: NativeOptions, architecture: str) -> dict[str, bytes]:
    """The source of an agent for an architecture, as `platform.machine()` calls it: header, C for all levels
    that matter there, weights, examples, and a Makefile that compiles libraries from it.

    `options` are those that it was built with, but for the levels. Raises UnsupportedError where these take
    observations that a program does not hold (mixed weights), or where an operator is not covered.
    """
    wanted = options.model_copy(update={"levels": (), "vector_bits": None})
    made = stages(program, wanted)
    levels = levels_for(
        architecture,
        weights=made.stored,
        paired=any(isinstance(op, Attention) and op.rounded for op in made.executed.ops),
    )
    source = render(
        made.executed, levels, wanted.tile, made.precision, exact=made.exact, realtime=wanted.realtime
    )
    files = source_files(source, program.signature, program.contract)
    files["Makefile"] = TOOLS + files["Makefile"] + LIBRARIES
    return {name: text.encode() for name, text in files.items()} | {"weights.bin": source.weights}
