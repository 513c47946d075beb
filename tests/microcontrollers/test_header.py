"""What a header is: plain C that every compiler takes without a word, and that needs nothing but memcpy."""

from __future__ import annotations

import re
import shutil
import subprocess
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from grandopt.compiler.backends.native.plain.header import PlainSource
from grandopt.compiler.backends.native.plain.host import WARNINGS, HostExecutor, compile_host, main_text
from grandopt.compiler.backends.native.plain.stages import plain
from grandopt.compiler.backends.native.toolchain import Compiler, find_compiler
from grandopt.config.boards import M0, M4F
from grandopt.errors import CrashError, UnsupportedError
from grandopt.signature import Signature
from tests.microcontrollers.agents import Actor, Functions, Remembering, Sorting, program
from tests.microcontrollers.emulated import tool
from tests.small_agents import Pair, draw
from tests.small_agents import program as small

FREE = re.compile(r"memcpy|_?_?aeabi_.*|__\w+[sd]f\w*|__\w+di\w*")
"""What an object may leave to the linker: memcpy, and the compiler's routines for what a core lacks."""


def written(source: PlainSource, folder: Path) -> None:
    (folder / f"{source.symbol}.h").write_text(source.text)
    (folder / "main.c").write_text(main_text(source))


@pytest.mark.parametrize(
    "compiler",
    ["gcc", "arm-none-eabi-gcc", *(pytest.param(name, marks=pytest.mark.slow) for name in ("clang", "g++"))],
)
@pytest.mark.parametrize("kind", [Remembering, pytest.param(Functions, marks=pytest.mark.slow)])
def test_no_compiler_has_anything_to_say(kind: type[nn.Module], compiler: str, tmp_path: Path) -> None:
    command = tool(compiler, compiler)
    written(plain(program(kind), "float32").source, tmp_path)
    words = ["-std=c++11", "-x", "c++", *WARNINGS[1:]] if compiler == "g++" else [*WARNINGS]
    flags = M4F if compiler.startswith("arm") else ()
    done = subprocess.run(
        [command, *flags, *words, "-O2", "-c", "main.c", "-o", "main.o"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("flags", [M4F, M0], ids=["m4f", "m0"])
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_nothing_but_memcpy_is_called(flags: tuple[str, ...], precision: str, tmp_path: Path) -> None:
    of = program(Actor)
    samples = draw(of, 64, seed=5)
    source = plain(of, "int8" if precision == "int8" else "float32", samples).source
    (tmp_path / f"{source.symbol}.h").write_text(source.text)
    call = f"void act(const float *x, float *y) {{ {source.symbol}_run(x, y); }}\n"
    (tmp_path / "act.c").write_text(
        f'#include "{source.symbol}.h"\nvoid act(const float *x, float *y);\n{call}'
    )
    cross = Compiler((tool("arm-none-eabi-gcc", "gcc-arm-none-eabi"),), "")
    cross.run([*flags, *WARNINGS, "-Os", "-c", "act.c", "-o", "act.o"], tmp_path)
    listed = subprocess.run(
        ["arm-none-eabi-nm", "-u", "act.o"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    names = [line.split()[-1] for line in listed.stdout.splitlines()]
    assert not [name for name in names if not FREE.fullmatch(name)]
    assert flags is M0 or names in ([], ["memcpy"]), "a core with floats needs no routines for them"


def test_two_agents_are_included_together(tmp_path: Path) -> None:
    """Each has its own names, and what both use is there once."""
    first, second = (plain(program(kind), "float32").source for kind in (Remembering, Actor))
    for source in (first, second):
        (tmp_path / f"{source.symbol}.h").write_text(source.text)
    (tmp_path / "main.c").write_text(
        '#include "remembering.h"\n#include "actor.h"\n#include <stdio.h>\n'
        "int main(void) {\n    static remembering_state memory;\n    static float x[24], y[4];\n"
        "    remembering_reset(&memory);\n    remembering_run(&memory, x, y);\n    actor_run(x, y);\n"
        '    return printf("%g %g\\n", (double)memory.h[0], (double)y[0]) < 0;\n}\n'
    )
    find_compiler().run([*WARNINGS, "-Os", "main.c", "-o", "both"], tmp_path)
    subprocess.run([tmp_path / "both"], capture_output=True, check=True, timeout=20)


def test_a_state_is_the_hosts_and_begins_where_the_contract_says(tmp_path: Path) -> None:
    of = program(Remembering)
    source = plain(of, "float32").source
    written(source, tmp_path)
    (tmp_path / "steps.c").write_text(
        '#include "remembering.h"\n#include <stdio.h>\n'
        "int main(void) {\n    static remembering_state one, other;\n"
        "    static float x[6] = {1, 2, 3, -1, -2, -3}, y[3];\n    int k;\n"
        "    remembering_reset(&one);\n    remembering_reset(&other);\n"
        '    for (k = 0; k < 32; ++k) printf("%.9g ", (double)one.h[k]);\n'
        "    for (k = 0; k < 3; ++k) remembering_run(&one, x, y);\n"
        '    for (k = 0; k < 32; ++k) printf("%.9g ", (double)one.h[k]);\n'
        '    for (k = 0; k < 32; ++k) printf("%.9g ", (double)other.h[k]);\n    return 0;\n}\n'
    )
    find_compiler().run([*WARNINGS, "-Os", "steps.c", "-o", "steps"], tmp_path)
    done = subprocess.run([tmp_path / "steps"], capture_output=True, text=True, check=True, timeout=20)
    first, after, kept = np.array(done.stdout.split(), np.float32).reshape(3, 32)
    initial = np.linspace(-0.5, 0.5, 32).astype(np.float32)
    np.testing.assert_array_equal(first, initial)
    np.testing.assert_array_equal(kept, initial)
    executor = HostExecutor([str(compile_host(source, find_compiler(), tmp_path))], of.signature, of.contract)
    with closing(executor):
        x, h = np.array([[1, 2, 3, -1, -2, -3]], np.float32), initial[np.newaxis]
        for _ in range(3):
            _, h = executor.run((x, h))
    np.testing.assert_array_equal(after, h[0])


def test_tensors_keep_their_names_unless_c_has_them() -> None:
    of = small(Pair)
    renamed = tuple(
        replace(spec, name=name)
        for spec, name in zip(of.signature.inputs, ("obs.double", "int"), strict=True)
    )
    outputs = tuple(
        replace(spec, name=name) for spec, name in zip(of.signature.outputs, ("a b", "a_b", "1"), strict=True)
    )
    source = plain(of.but(signature=Signature(renamed, outputs)), "float32").source
    names = [item.name for item in (*source.interface.inputs, *source.interface.outputs)]
    assert names == ["obs_double", "int_1", "a_b", "a_b_1", "v1"]


@pytest.mark.parametrize("name", ["math", "Features", "time"])
def test_no_header_hides_one_of_the_system(name: str, tmp_path: Path) -> None:
    """Where a host finds the folder first: the agent's header reads math.h itself."""
    source = plain(program(Actor).but(name=name), "float32").source
    assert source.symbol == f"agent_{name}"
    written(source, tmp_path)
    find_compiler().run([*WARNINGS, "-I.", "-c", "main.c", "-o", "main.o"], tmp_path)


def test_what_plain_c_has_not_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match=r"sort \(.*\) is not written in plain C; .* export --to c"):
        plain(program(Sorting), "float32")
    with pytest.raises(UnsupportedError, match="nothing is known of them; give recorded observations"):
        plain(program(Actor), "int8")
    with pytest.raises(UnsupportedError, match="no product of at least 256 weights"):
        plain(program(Functions), "int8", draw(program(Functions), 8))


@pytest.mark.skipif(shutil.which("false") is None, reason="there is no program that fails")
def test_a_program_that_ends_is_an_error() -> None:
    of = program(Actor)
    executor = HostExecutor(["false"], of.signature, of.contract)
    with closing(executor), pytest.raises(CrashError, match="ended with 1 before it had answered"):
        executor.run(draw(of, 1))
