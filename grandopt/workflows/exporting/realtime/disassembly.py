"""What lies on the way of a call, read from the disassembly of a library."""

from __future__ import annotations

import re
import shutil
import subprocess
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

TIMEOUT_S = 120.0

CALLED = frozenset({"memcpy", "memset"})
"""What of the C library a call may use."""

_LABEL = re.compile(r"^([0-9a-f]+) <(.+)>:$")
_LINE = re.compile(r"^\s*([0-9a-f]+):\s+(\S+)\s*(.*)$")
_TARGET = re.compile(r"(?:^|[\s,])(?:0x)?([0-9a-f]+) <([^>+]+)(?:\+0x[0-9a-f]+)?>")

X86_SYSTEM = frozenset({"syscall", "sysenter", "int", "hlt", "cpuid", "xgetbv"})
ARM_SYSTEM = frozenset({"svc", "hvc", "smc", "wfi", "wfe", "yield"})
"""Instructions that leave the program, or trap into what runs below it."""
ARM_LOCKS = (
    "ldxr", "ldxp", "ldaxr", "ldaxp", "stxr", "stxp", "stlxr", "stlxp", "cas", "swp", "ldadd", "ldclr",
    "ldeor", "ldset", "ldsmax", "ldsmin", "ldumax", "ldumin",
)  # fmt: skip
"""Beginnings of the instructions that read and write memory as one."""
COMPARING = re.compile(r"v?u?comis[sdh]|v?ptest|vtestp[sd]|k(or)?test[bwdq]|fcmpe?|fccmpe?")
"""Those that leave the result of comparing floating-point numbers, or vectors, for a branch."""
FLAGLESS = re.compile(
    r"mov\w*|cmov\w+|lea\w*|set\w+|push\w*|pop\w*|nop\w*|v(?!ptest|testp|u?comis)\w+|k(?!o?r?test)\w+|\w*fma\w*|"
    r"ld[rp]\w*|st[rp]\w*|stur\w*|ldur\w*|f(?!cc?mp)\w+|adrp?|csel|cset|mrs|b\.\w+|j(?!mp)\w+"
)
"""Those that leave such a result alone, further branches among them."""


class Instruction(NamedTuple):
    """One line of a disassembly."""

    address: int
    name: str
    operands: str


@dataclass(frozen=True)
class Function:
    """A function by its name and the address where it begins."""

    name: str
    start: int
    lines: tuple[Instruction, ...]


@dataclass(frozen=True)
class Reached:
    """What a call reaches: how many functions and instructions, and what should not be there, in words."""

    functions: int
    instructions: int
    outside: tuple[str, ...]
    locks: tuple[str, ...]
    system: tuple[str, ...]
    branches: tuple[str, ...]


def disassembled(library: Path, machine: str) -> tuple[Function, ...] | None:
    """The functions of a library in the order of their addresses; None where nothing here can tell them."""
    for program in (f"{machine}-linux-gnu-objdump", "objdump", "llvm-objdump"):
        if shutil.which(program) is None:
            continue
        command = [program, "-d", "-w", "--no-show-raw-insn", str(library)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
            continue
        functions = tuple(_functions(done.stdout.splitlines()))
        if done.returncode == 0 and functions:
            return functions
    return None


def _functions(lines: Sequence[str]) -> Iterator[Function]:
    name, start = "", 0
    found: list[Instruction] = []
    for line in lines:
        if label := _LABEL.match(line):
            if found:
                yield Function(name, start, tuple(found))
            start, name, found = int(label[1], 16), label[2], []
        elif name and (match := _LINE.match(line)):
            found.append(Instruction(int(match[1], 16), match[2], match[3]))
    if found:
        yield Function(name, start, tuple(found))


def function_at(functions: Sequence[Function], address: int) -> Function | None:
    """The function that an address lies in; `functions` are in order."""
    number = bisect_right([function.start for function in functions], address) - 1
    return functions[number] if number >= 0 else None


def reached(functions: Sequence[Function], roots: Sequence[str], dispatcher: str) -> Reached:
    """What calls of `roots` reach. `dispatcher` may jump to an address that it reads: to one of the roots."""
    known = {function.start: function for function in functions}
    waiting = [function for function in functions if function.name in roots]
    seen: dict[int, Function] = {}
    outside: list[str] = []
    while waiting:
        function = waiting.pop()
        if function.start in seen:
            continue
        seen[function.start] = function
        for line in function.lines:
            if not _jumps(line):
                continue
            target = _TARGET.search(line.operands)
            if target is None:
                if function.name != dispatcher and _is_indirect(line):
                    outside.append(f"{_place(function, line)} goes to an address that it computed")
                continue
            imported, _, plt = target[2].partition("@")
            if plt:
                if imported not in CALLED:
                    outside.append(f"{_place(function, line)} calls {imported}")
            elif not function.start <= int(target[1], 16) <= function.lines[-1].address:
                there = known.get(int(target[1], 16)) or function_at(functions, int(target[1], 16))
                if there is not None:
                    waiting.append(there)
    found = sorted(seen.values(), key=lambda function: function.start)
    return Reached(
        len(found),
        sum(len(function.lines) for function in found),
        tuple(outside),
        tuple(_place(f, line) for f in found for line in f.lines if _locks(line)),
        tuple(_place(f, line) for f in found for line in f.lines if line.name in X86_SYSTEM | ARM_SYSTEM),
        tuple(_place(f, f.lines[i]) for f in found for i in range(len(f.lines)) if _compares(f.lines, i)),
    )


def _place(function: Function, line: Instruction) -> str:
    return f"{function.name}+0x{line.address - function.start:x} ({line.name})"


def _jumps(line: Instruction) -> bool:
    """Whether it may go on elsewhere, returns aside."""
    text = f"{line.name} {line.operands}"
    x86 = re.match(r"((bnd|notrack) )?(call|j[a-z]+)\b", text)
    return bool(x86 or re.fullmatch(r"b|bl|br|blr|b\.\w+|cbn?z|tbn?z", line.name))


def _is_indirect(line: Instruction) -> bool:
    return line.name in ("br", "blr") or "*" in line.operands


def _locks(line: Instruction) -> bool:
    exchanged = line.name.startswith("xchg") and "(" in line.operands
    return line.name == "lock" or exchanged or line.name.startswith(ARM_LOCKS)


def _compares(lines: Sequence[Instruction], number: int) -> bool:
    """Whether it is a branch on what floating-point numbers or vectors compare to."""
    name = lines[number].name
    if not re.fullmatch(r"j(?!mp)[a-z]+|b\.\w+", name):
        return False
    for line in reversed(lines[max(0, number - 64) : number]):
        if COMPARING.fullmatch(line.name):
            return True
        if not FLAGLESS.fullmatch(line.name):
            return False
    return False
