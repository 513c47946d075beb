"""Whether a header fits a board: flash, RAM, stack, and what one call computes."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from grandopt.compiler.backends.native.plain.header import PlainSource
from grandopt.compiler.backends.native.plain.host import WARNINGS
from grandopt.compiler.backends.native.plain.stages import PlainAgent
from grandopt.compiler.backends.native.toolchain import Compiler
from grandopt.config.boards import COMMON, Board
from grandopt.errors import BuildError, UnsupportedError

CROSS, SIZE = "arm-none-eabi-gcc", "arm-none-eabi-size"
ALLOWANCE = 12_000
"""What code is taken to be where it cannot be compiled for the board; the tests hold headers to it."""

PROBE = """\
#include "{symbol}.h"
{declarations}
void probe(void);
void probe(void) {{
    {symbol}_run({arguments});
}}
"""


@dataclass(frozen=True)
class Code:
    """What a compiler made of a header: instructions and what they read, without the weights, and the most
    that is on the stack, without the compiler's own routines for numbers that the core cannot multiply."""

    compiler: str
    code_bytes: int
    stack_bytes: int


@dataclass(frozen=True)
class Fit:
    """What a header takes of a board (None: of none in particular); `code` is None where it was not compiled
    for its core, and `reason` says why."""

    board: Board | None
    processor: str
    weight_bytes: int
    scratch_bytes: int
    state_bytes: int
    exchange_bytes: int
    multiply_adds: int
    code: Code | None
    reason: str | None

    @property
    def flash_bytes(self) -> int:
        """Weights and code, or what is allowed for that."""
        return self.weight_bytes + (ALLOWANCE if self.code is None else self.code.code_bytes)

    @property
    def ram_bytes(self) -> int:
        """Scratch, one state, observation and action, and the stack where it is known."""
        stack = 0 if self.code is None else self.code.stack_bytes
        return self.scratch_bytes + self.state_bytes + self.exchange_bytes + stack

    def check(self, agent: str) -> None:
        """Raise UnsupportedError, which names the limit, where the board has less than is taken."""
        if self.board is None:
            return
        for what, needed, there in (
            ("flash", self.flash_bytes, self.board.flash_bytes),
            ("RAM", self.ram_bytes, self.board.ram_bytes),
        ):
            if needed > there:
                raise UnsupportedError(
                    f"{agent} does not fit {self.board.name}: it takes {needed:,} bytes of {what}, the board "
                    f"has {there:,}; take --precision int8 or a larger board"
                )

    def to_json(self) -> dict[str, Any]:
        """Plain data, as `fit.json` holds it."""
        limits = None
        if self.board is not None:
            limits = {
                "name": self.board.name,
                "flash_bytes": self.board.flash_bytes,
                "ram_bytes": self.board.ram_bytes,
            }
        return {
            "processor": self.processor,
            "flash_bytes": self.flash_bytes,
            "weight_bytes": self.weight_bytes,
            "code_bytes": None if self.code is None else self.code.code_bytes,
            "code_allowance_bytes": ALLOWANCE if self.code is None else None,
            "ram_bytes": self.ram_bytes,
            "scratch_bytes": self.scratch_bytes,
            "state_bytes": self.state_bytes,
            "observation_and_action_bytes": self.exchange_bytes,
            "stack_bytes": None if self.code is None else self.code.stack_bytes,
            "multiply_adds": self.multiply_adds,
            "compiler": None if self.code is None else self.code.compiler,
            "not_compiled": self.reason,
            "board": limits,
        }

    def lines(self) -> list[str]:
        """The same in words."""
        code = "an allowance" if self.code is None else "code"
        size = self.flash_bytes - self.weight_bytes
        stack = "stack not measured" if self.code is None else f"stack at most {self.code.stack_bytes:,}"
        parts = [
            f"flash: {self.flash_bytes:,} bytes ({self.weight_bytes:,} of weights, {size:,} of {code})"
            + _of(None if self.board is None else self.board.flash_bytes),
            f"RAM: {self.ram_bytes:,} bytes (scratch {self.scratch_bytes:,}, state {self.state_bytes:,}, "
            f"observation and action {self.exchange_bytes:,}, {stack})"
            + _of(None if self.board is None else self.board.ram_bytes),
            f"multiply-adds per call: {self.multiply_adds:,}",
        ]
        name = self.processor if self.board is None else f"{self.board.name}, {self.processor}"
        made = self.reason if self.code is None else f"measured with {self.code.compiler}"
        return [f"{name}: {made}", *parts]


def fitted(agent: PlainAgent, board: Board | None) -> Fit:
    """What the header of an agent takes, of a board or of the core that most have."""
    source, faces = agent.source, agent.source.interface
    flags = COMMON if board is None else board.flags
    code, reason = _code(source, flags)
    return Fit(
        board,
        "Cortex-M4F" if board is None else board.processor,
        source.weight_bytes,
        source.scratch_bytes,
        source.state_bytes,
        sum(
            item.value.elements * np.dtype(item.value.dtype).itemsize
            for item in (*faces.inputs, *faces.outputs)
        ),
        agent.multiply_adds,
        code,
        reason,
    )


def _of(there: int | None) -> str:
    return "" if there is None else f" of {there:,}"


def _code(source: PlainSource, flags: Sequence[str]) -> tuple[Code | None, str | None]:
    """The code of a header for an Arm core, or why there is none."""
    if not flags:
        return None, "not an Arm core, for which grandopt would compile it"
    if shutil.which(CROSS) is None or shutil.which(SIZE) is None:
        return None, f"not compiled for it, as {CROSS} is not installed"
    try:
        return _compiled(source, flags), None
    except BuildError as error:
        # Not the header's fault, which this machine's compiler took: a compiler without its C library.
        return None, f"not compiled for it, as {error}"


def _compiled(source: PlainSource, flags: Sequence[str]) -> Code:
    """What the cross compiler makes of a header; raises BuildError where it fails."""
    version = _output([CROSS, "--version"]).partition("\n")[0]
    with tempfile.TemporaryDirectory(prefix="grandopt-export-") as name:
        folder = Path(name)
        (folder / f"{source.symbol}.h").write_text(source.text, encoding="utf-8")
        (folder / "probe.c").write_text(_probe(source), encoding="utf-8")
        compiler = Compiler((CROSS,), version)
        compiler.run([*flags, *WARNINGS, "-Os", "-fstack-usage", "-c", "probe.c", "-o", "probe.o"], folder)
        # Linked, so that the routines of a core without a float unit, and memcpy, count.
        compiler.run(
            [*flags, "-nostartfiles", "-Wl,--gc-sections,-e,probe", "probe.o", "-o", "probe.elf"], folder
        )
        sections = _sections(_output([SIZE, "-A", str(folder / "probe.elf")]))
        stack = sum(
            int(line.split("\t")[1])
            for file in folder.glob("*.su")
            for line in file.read_text(encoding="utf-8").splitlines()
        )
    kept = sum(
        size for name, size in sections.items() if name.startswith((".text", ".rodata", ".data", ".ARM"))
    )
    kept -= sections.get(".ARM.attributes", 0)
    return Code(version, kept - source.weight_bytes, stack)


def _probe(source: PlainSource) -> str:
    """A C file with a function that calls the agent."""
    faces = source.interface
    plain = (*faces.inputs, *faces.outputs)
    state = [f"static {source.symbol}_state probe_state;"] if faces.state else []
    declared = [f"static {item.kind} probe_{item.name}[{item.value.elements}];" for item in plain]
    passed = [*(["&probe_state"] if faces.state else []), *(f"probe_{item.name}" for item in plain)]
    return PROBE.format(
        symbol=source.symbol, declarations="\n".join([*state, *declared]), arguments=", ".join(passed)
    )


def _sections(listing: str) -> Mapping[str, int]:
    """Sections and their sizes, as `size -A` lists them."""
    rows = (line.split() for line in listing.splitlines() if line.startswith("."))
    return {row[0]: int(row[1]) for row in rows}


def _output(command: Sequence[str]) -> str:
    """What a program says; raises BuildError where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        raise BuildError(f"{command[0]} failed: {done.stderr.strip().partition(chr(10))[0]}")
    return done.stdout
