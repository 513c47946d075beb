"""Headers on emulated processors: a program without a system on a Cortex-M, and one on Linux for Arm."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from grandopt.compiler.backends.native.plain.header import PlainSource
from grandopt.compiler.backends.native.plain.host import WARNINGS, HostExecutor, main_text
from grandopt.compiler.backends.native.toolchain import Compiler
from grandopt.compiler.program import Program
from grandopt.config.boards import M0, M4F
from grandopt.signature import Array

BARE = """\
/* Rows in, bytes out through semihosting; nothing is below this but the processor. */
#include "{symbol}.h"

{rows}
{declarations}
extern uint32_t stack_top[];
void start(void);

__attribute__((section(".vectors"), used)) static const void *const vectors[] = {{stack_top, (void *)start}};

static void host(int operation, const void *argument) {{
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}}

static void tell(const void *bytes, uint32_t count) {{
    static char text[3];
    const uint8_t *byte = (const uint8_t *)bytes;
    uint32_t i;
    for (i = 0; i < count; ++i) {{
        text[0] = "0123456789abcdef"[byte[i] >> 4];
        text[1] = "0123456789abcdef"[byte[i] & 15];
        host(4, text);
    }}
}}

__attribute__((noinline)) static void work(void) {{
    uint32_t row;
    for (row = 0; row < {count}; ++row) {{
{reads}
        {symbol}_run({arguments});
{writes}
    }}
}}

/* Floats are switched on before any code that uses them, be it by saving their registers. */
void start(void) {{
{float_unit}
    __asm__ volatile("dsb\\n\\tisb" : : : "memory");
    work();
    host(0x18, (const void *)0x20026);
    for (;;) {{
    }}
}}
"""
"""Semihosting's 4 writes text, and 0x18 with 0x20026 is a good end."""

LINKED = """\
ENTRY(start)
SECTIONS {{
    .text 0 : {{ KEEP(*(.vectors)) *(.text*) *(.rodata*) }}
    .ARM.exidx : {{ *(.ARM.exidx*) }}
    . = 0x20000000;
    .data : {{ *(.data*) }}
    .bss : {{ *(.bss*) *(COMMON) }}
    stack_top = 0x20000000 + {ram};
}}
"""


@dataclass(frozen=True)
class Core:
    """An emulated machine: its name for qemu, the flags of its core, its RAM, and whether it has floats."""

    machine: str
    flags: tuple[str, ...]
    ram_bytes: int
    has_floats: bool


CORTEX_M4F = Core("mps2-an386", M4F, 4 << 20, True)
CORTEX_M0 = Core("microbit", M0, 16 << 10, False)


def tool(name: str, package: str) -> str:
    """The path of a program, or a skipped test."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed (Debian: {package})")
    return path


def bare_metal(
    source: PlainSource, program: Program, inputs: Sequence[Array], core: Core, folder: Path
) -> tuple[Array, ...]:
    """What the header answers to the inputs, row by row, on an emulated core without an operating system."""
    emulator = tool("qemu-system-arm", "qemu-system-arm")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{source.symbol}.h").write_text(source.text)
    (folder / "main.c").write_text(_bare(source, inputs, core))
    (folder / "link.ld").write_text(LINKED.format(ram=core.ram_bytes))
    cross = Compiler((tool("arm-none-eabi-gcc", "gcc-arm-none-eabi"),), "arm-none-eabi-gcc")
    command = [*core.flags, *WARNINGS[:1], *WARNINGS[2:], "-Os", "main.c", "-nostartfiles", "-T", "link.ld"]
    cross.run([*command, "-o", "agent.elf"], folder)
    done = subprocess.run(
        [
            emulator, "-M", core.machine, "-display", "none", "-serial", "none", "-monitor", "none",
            "-semihosting-config", "enable=on,target=native", "-kernel", folder / "agent.elf",
        ],
        capture_output=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[:200]
    content = bytes.fromhex(done.stdout.decode() or done.stderr.decode())
    return _parsed(program, content, len(inputs[0]))


def on_linux(source: PlainSource, program: Program, folder: Path) -> HostExecutor:
    """The header as a program of 64-bit Arm, run by qemu's emulation of a user's program."""
    cross = Compiler((tool("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu, libc6-dev-arm64-cross"),), "")
    emulator = tool("qemu-aarch64", "qemu-user")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{source.symbol}.h").write_text(source.text)
    (folder / "main.c").write_text(main_text(source))
    cross.run([*WARNINGS, "-O2", "-static", "main.c", "-o", "agent"], folder)
    return HostExecutor([emulator, str(folder / "agent")], program.signature, program.contract)


def _parsed(program: Program, content: bytes, batch: int) -> tuple[Array, ...]:
    specs = program.signature.outputs
    row = sum(spec.elements * np.dtype(spec.dtype).itemsize for spec in specs)
    assert len(content) == batch * row
    table = np.frombuffer(content, np.uint8).reshape(batch, row)
    results, start = [], 0
    for spec in specs:
        size = spec.elements * np.dtype(spec.dtype).itemsize
        part = np.ascontiguousarray(table[:, start : start + size])
        results.append(part.view(spec.dtype).reshape(batch, *spec.shape))
        start += size
    return tuple(results)


def _bare(source: PlainSource, inputs: Sequence[Array], core: Core) -> str:
    faces = source.interface
    taken = {item.place: (item.name, item) for item in faces.inputs}
    taken |= {item.place: (f"memory.{item.name}", item) for item, _, _ in faces.state}
    given = {item.place: (item.name, item) for item in faces.outputs}
    given |= {after.place: (f"memory.{item.name}", item) for item, after, _ in faces.state}
    rows = []
    for place, array in enumerate(inputs):
        texts = ", ".join(str(byte) for byte in np.ascontiguousarray(array).view(np.uint8).reshape(-1))
        rows.append(f"static const uint8_t given{place}[{array.nbytes}] = {{{texts}}};")
    plain = (*faces.inputs, *faces.outputs)
    state = [f"static {source.symbol}_state memory;"] if faces.state else []
    return BARE.format(
        symbol=source.symbol,
        rows="\n".join(rows),
        declarations="\n".join([*state, *(f"static {i.kind} {i.name}[{i.value.elements}];" for i in plain)]),
        float_unit="    *(volatile uint32_t *)0xe000ed88 |= 0xf00000;" if core.has_floats else "",
        count=len(inputs[0]),
        reads="\n".join(
            f"        memcpy({name}, given{place} + row * sizeof {name}, sizeof {name});"
            for place, (name, _) in taken.items()
        ),
        arguments=", ".join([*(["&memory"] if faces.state else []), *(item.name for item in plain)]),
        writes="\n".join(
            f"        tell({given[place][0]}, sizeof {given[place][0]});" for place in sorted(given)
        ),
    )
