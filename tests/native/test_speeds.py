"""The kernels that tell the machine's limit compile at every level, to the instructions they are about."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from grandopt.artifacts.machine import architecture
from grandopt.compiler.backends.native.levels import LEVELS, IsaLevel, of_architecture
from grandopt.compiler.backends.native.speeds import compile_speeds, runnable_levels
from grandopt.compiler.backends.native.toolchain import Compiler, find_compiler
from grandopt.errors import BuildError
from tests.native.programs import compiler_for
from tests.native.test_level_code import disassembled

INSTRUCTIONS = {
    "x86-64-v4-amx": ("vfmadd231ps.*zmm", "tdpbf16ps", "tdpbssd"),
    "x86-64-v4-bf16": ("vfmadd231ps.*zmm", "vdpbf16ps.*zmm", "vpdpbusd.*zmm"),
    "x86-64-v4-vnni": ("vfmadd231ps.*zmm", "vpslld.*zmm", "vpdpbusd.*zmm"),
    "x86-64-v4": ("vfmadd231ps.*zmm", "vpslld.*zmm", "vpmaddubsw.*zmm"),
    "x86-64-v3-avxvnni": ("vfmadd231ps.*ymm", "vpslld.*ymm", "vpdpbusd.*ymm"),
    "x86-64-v3": ("vfmadd231ps.*ymm", "vpslld.*ymm", "vpmaddubsw.*ymm"),
    "armv8.2-a-bf16": ("fmla", "bfmmla", "sdot"),
    "armv8.2-a-dotprod": ("fmla", "shl", "sdot"),
    "armv8-a": ("fmla", "shl", "sadalp"),
}


def _functions(compiler: Compiler, library: Path) -> dict[str, str]:
    """The instructions of each kernel."""
    parts = re.split(r"^[0-9a-f]+ <(\w+)>:$", disassembled(compiler, library), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
def test_the_kernels_are_of_the_levels_instructions(level: IsaLevel, tmp_path: Path) -> None:
    compiler = compiler_for(level.architecture)
    (library,) = compile_speeds(compiler, [level], tmp_path).values()
    functions = _functions(compiler, library)
    for name, instruction in zip(("float32", "bfloat16", "int8"), INSTRUCTIONS[level.name], strict=True):
        # Twelve chains, half of them after a shift; tiles have four sums.
        count = len(re.findall(instruction, functions[name]))
        assert count == {"vpslld": 6, "shl": 6, "tdpbf1": 4, "tdpbss": 4}.get(instruction[:6], 12), name
    assert len(re.findall(r"v?p?xor|eor", functions["reading"])) >= 8


def test_a_level_beyond_the_compiler_is_left_out(tmp_path: Path) -> None:
    (plain, *_) = of_architecture(architecture())[::-1]
    beyond = IsaLevel("beyond", plain.architecture, 8, 16, (), ("-mno-such-flag",))
    assert [level.name for level in compile_speeds(find_compiler(), [beyond, plain], tmp_path)] == [
        plain.name
    ]
    with pytest.raises(BuildError, match="no-such-flag"):
        compile_speeds(find_compiler(), [beyond], tmp_path)


def test_a_cpu_runs_the_levels_whose_features_it_has() -> None:
    for level in LEVELS:
        names = [found.name for found in runnable_levels(level.architecture, level.features)]
        assert names[0] == level.name
        assert all(set(found.features) <= set(level.features) for found in LEVELS if found.name in names)
    assert runnable_levels("x86_64", ()) == ()
