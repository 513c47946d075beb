"""Agents of any feature level as programs of their own, run by this CPU or by qemu's emulation of another."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from grandopt.artifacts.machine import architecture, cpu_features
from grandopt.compiler.backends.native.build import WEIGHTS_C, NativeSource, render
from grandopt.compiler.backends.native.form import Graph, Value
from grandopt.compiler.backends.native.levels import V3_FEATURES, IsaLevel
from grandopt.compiler.backends.native.render.text import C_TYPES
from grandopt.compiler.backends.native.render.weights import Precision
from grandopt.compiler.backends.native.toolchain import FLAGS, Compiler, find_compiler
from grandopt.signature import Array

CROSS = {"aarch64": "aarch64-linux-gnu-gcc", "x86_64": "x86_64-linux-gnu-gcc"}
"""Compilers for the other architecture."""
EMULATED = {"aarch64": frozenset({"asimd", "asimddp", "bf16"}), "x86_64": frozenset(V3_FEATURES)}
"""What the largest CPU of Debian 12's qemu has; no version of it has AVX-512."""

MAIN = """
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
int {symbol}_run({parameters}, int64_t batch, void *scratch);
const char *{symbol}_level(void);
int main(int count, char **arguments) {{
    const int64_t batch = count > 1 ? atoll(arguments[1]) : 0;
    if (batch < 1) return puts({symbol}_level()) < 0;
    const size_t room = {scratch} / 64 * 64 + 64;
    void *const scratch = aligned_alloc(64, room);
{buffers}
    const int fault = {symbol}_run({arguments}, batch, scratch);
    if (fault != 0) return fault;
{writes}
    return fflush(stdout) != 0;
}}
"""


@dataclass(frozen=True)
class Program:
    """A compiled agent: called with arrays [batch, ...], it gives those of its outputs."""

    command: tuple[str, ...]
    graph: Graph

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        done = self.ran(str(len(inputs[0])), b"".join(np.ascontiguousarray(x).tobytes() for x in inputs))
        assert done.returncode == 0, (done.returncode, done.stderr)
        outputs, start = [], 0
        for value in self.graph.outputs:
            shape = (len(inputs[0]), *value.shape[1:])
            count = int(np.prod(shape))
            outputs.append(np.frombuffer(done.stdout, value.dtype, count, start).reshape(shape).copy())
            start += outputs[-1].nbytes
        assert start == len(done.stdout)
        return tuple(outputs)

    def level(self) -> str:
        """The level that it takes."""
        return self.ran("", b"").stdout.decode().strip()

    def ran(self, batch: str, content: bytes) -> subprocess.CompletedProcess[bytes]:
        """What became of a run."""
        return subprocess.run([*self.command, batch], input=content, capture_output=True, timeout=120)


def emulator(machine: str, cpu: str = "max") -> tuple[str, ...]:
    """The command that runs programs of another architecture, or a skipped test."""
    path = shutil.which(f"qemu-{machine}")
    if path is None:
        pytest.skip(f"qemu-{machine} is not installed (Debian: qemu-user)")
    return path, "-cpu", cpu


def compiler_for(machine: str) -> Compiler:
    """This machine's compiler or one for another architecture; a skipped test where that is missing."""
    if machine == architecture():
        return find_compiler()
    path = shutil.which(CROSS[machine])
    if path is None:
        pytest.skip(
            f"{CROSS[machine]} is not installed (Debian: gcc-aarch64-linux-gnu, libc6-dev-arm64-cross)"
        )
    return Compiler((path,), path)


def runner(level: IsaLevel) -> tuple[str, ...]:
    """What runs a program of the level: nothing, an emulator, or a skipped test where neither can."""
    if level.architecture == architecture() and cpu_features().issuperset(level.features):
        return ()
    if not EMULATED[level.architecture].issuperset(level.features):
        pytest.skip(f"neither this CPU nor an emulator has {level.name}")
    return emulator(level.architecture)


def runs_here(level: IsaLevel) -> bool:
    """Whether the CPU or an emulator that is installed can run the level."""
    try:
        runner(level)
        compiler_for(level.architecture)
    except pytest.skip.Exception:
        return False
    return True


def program(
    graph: Graph,
    levels: Sequence[IsaLevel],
    folder: Path,
    *,
    tile: int = 8,
    precision: Precision = "float32",
    command: tuple[str, ...] | None = None,
) -> Program:
    """The graph as a program that holds `levels`, run by `command` or by what can run the first of them."""
    folder.mkdir(parents=True, exist_ok=True)
    compiler = compiler_for(levels[0].architecture)
    run = runner(levels[0]) if command is None else command
    source = render(graph, levels, tile, precision)
    files = {
        "weights.c": WEIGHTS_C.format(name=source.weights_name),
        "run.c": source.entry,
        "main.c": _main(source),
        **{f"{level.name}.c": text for level, text in source.texts.items()},
    }
    (folder / "weights.bin").write_bytes(source.weights)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    for level in source.texts:
        compiler.run([*FLAGS, *level.flags, "-c", f"{level.name}.c", "-o", f"{level.name}.o"], folder)
    objects = [f"{level.name}.o" for level in source.texts]
    # Static, so that an emulator needs no libraries of the other architecture.
    compiler.run([*FLAGS, "-static", "weights.c", "run.c", "main.c", *objects, "-o", "agent", "-lm"], folder)
    return Program((*run, str(folder / "agent")), graph)


def _main(source: NativeSource) -> str:
    inputs = [(f"in{i}", value) for i, value in enumerate(source.graph.inputs)]
    outputs = [(f"out{i}", value) for i, value in enumerate(source.graph.outputs)]
    typed = [f"const {C_TYPES[value.dtype]} *{name}" for name, value in inputs]
    typed += [f"{C_TYPES[value.dtype]} *{name}" for name, value in outputs]

    def size(value: Value) -> str:
        return f"batch * {value.elements} * sizeof({C_TYPES[value.dtype]})"

    buffers = [f"    void *const {name} = malloc({size(value)});" for name, value in (*inputs, *outputs)]
    buffers += [f"    if (fread({name}, {size(value)}, 1, stdin) != 1) return 99;" for name, value in inputs]
    return MAIN.format(
        symbol=source.symbol,
        parameters=", ".join(typed),
        scratch=source.scratch_bytes,
        buffers="\n".join(buffers),
        arguments=", ".join(name for name, _ in (*inputs, *outputs)),
        writes="\n".join(
            f"    if (fwrite({name}, {size(value)}, 1, stdout) != 1) return 98;" for name, value in outputs
        ),
    )
