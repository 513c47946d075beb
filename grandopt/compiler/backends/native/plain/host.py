"""A header as a program of this machine, called through pipes: what it computes can be compared here."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from grandopt.compiler.backends.native.plain.header import PlainSource
from grandopt.compiler.backends.native.toolchain import Compiler
from grandopt.errors import CrashError
from grandopt.runtime.executors.base import Executor
from grandopt.signature import Array, Contract, Signature

WARNINGS = ("-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror")
"""What a header is compiled with wherever it is compiled here."""

MAIN = """\
/* Reads observations, with the state of each where there is one, and writes what follows from them. */
#include "{symbol}.h"

#include <stdio.h>

int main(void) {{
{declarations}
    for (;;) {{
{reads}
        {symbol}_run({arguments});
{writes}
        if (fflush(stdout) != 0) return 1;
    }}
}}
"""


def main_text(source: PlainSource, ending: str = "return 0;") -> str:
    """A C program around the header: raw tensors in from stdin and out to stdout, in the order of the
    signature; where nothing is left to read, `ending`."""
    faces = source.interface
    inputs = [*((item.place, item.name, item) for item in faces.inputs)]
    inputs += [(item.place, f"memory.{item.name}", item) for item, _, _ in faces.state]
    outputs = [*((item.place, item.name, item) for item in faces.outputs)]
    outputs += [(after.place, f"memory.{item.name}", item) for item, after, _ in faces.state]
    state = [f"    static {source.symbol}_state memory;"] if faces.state else []
    plain = (*faces.inputs, *faces.outputs)
    declared = [f"    static {item.kind} {item.name}[{item.value.elements}];" for item in plain]
    return MAIN.format(
        symbol=source.symbol,
        declarations="\n".join([*state, *declared]),
        reads="\n".join(
            f"        if (fread({name}, sizeof {name}, 1, stdin) != 1) {ending}"
            for _, name, _ in sorted(inputs, key=lambda entry: entry[0])
        ),
        arguments=", ".join([*(["&memory"] if faces.state else []), *(item.name for item in plain)]),
        writes="\n".join(
            f"        if (fwrite({name}, sizeof {name}, 1, stdout) != 1) return 1;"
            for _, name, _ in sorted(outputs, key=lambda entry: entry[0])
        ),
    )


def compile_host(source: PlainSource, compiler: Compiler, folder: Path) -> Path:
    """The program of a header, in `folder`. Raises BuildError with the compiler's first error line."""
    (folder / f"{source.symbol}.h").write_text(source.text, encoding="utf-8")
    (folder / "main.c").write_text(main_text(source), encoding="utf-8")
    compiler.run([*WARNINGS, "-Os", "-ffp-contract=off", "main.c", "-o", "agent"], folder)
    return folder / "agent"


class HostExecutor(Executor):
    """The agent of a header as a process, called row by row. Not for several threads at once."""

    flushes_denormals = True

    def __init__(self, program: Sequence[str], signature: Signature, contract: Contract) -> None:
        super().__init__(signature, contract)
        self._program = tuple(program)
        self._process = subprocess.Popen(self._program, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        """Raises CrashError where the process ends before it has answered."""
        batch, outputs = len(inputs[0]), self.signature.outputs
        results = tuple(np.empty((batch, *spec.shape), spec.dtype) for spec in outputs)
        for row in range(batch):
            answer = self._answer(b"".join(array[row].tobytes() for array in inputs))
            start = 0
            for result in results:
                size = result[row].nbytes
                result[row] = np.frombuffer(answer, result.dtype, result[row].size, start).reshape(
                    result[row].shape
                )
                start += size
        return results

    def _answer(self, row: bytes) -> bytes:
        size = sum(spec.elements * np.dtype(spec.dtype).itemsize for spec in self.signature.outputs)
        asked, answered = self._process.stdin, self._process.stdout
        assert asked is not None
        assert answered is not None
        try:
            asked.write(row)
            asked.flush()
            answer = answered.read(size)
        except BrokenPipeError:
            answer = b""
        if len(answer) != size:
            code = self._process.wait()
            raise CrashError(f"{self._program[0]}: ended with {code} before it had answered")
        return answer

    def close(self) -> None:
        """End the process."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):  # of what it did not read any more
                    pipe.close()
