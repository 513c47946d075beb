"""Rendered C → libraries, one per feature level for Python and one with all levels for hosts in C, and what a
caller must know of them."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from grandopt.compiler.backends.native.form import Convolve, Graph, Linear, Op, Recurrent
from grandopt.compiler.backends.native.layout import Layout, lay_out
from grandopt.compiler.backends.native.levels import IsaLevel
from grandopt.compiler.backends.native.memory import Arena, plan
from grandopt.compiler.backends.native.render.entry import entry
from grandopt.compiler.backends.native.render.library import library, uses_tiles
from grandopt.compiler.backends.native.render.weights import Precision, Weights
from grandopt.compiler.backends.native.render.workspace import Workspace
from grandopt.compiler.backends.native.toolchain import FLAGS, REALTIME_FLAGS, REALTIME_LINKING, Compiler
from grandopt.runtime.executors.native_interface import interface_name, interface_text
from grandopt.signature import Signature, TensorSpec

WEIGHTS_C = """\
/* The bytes of weights.bin, aligned, as the symbol {name}. */
#ifdef __APPLE__
__asm__(".const\\n.balign 64\\n.globl _{name}\\n.private_extern _{name}\\n"
        "_{name}:\\n.incbin \\"weights.bin\\"\\n.text\\n");
#else
__asm__(".section .rodata\\n.balign 64\\n.weak {name}\\n.hidden {name}\\n"
        "{name}:\\n.incbin \\"weights.bin\\"\\n.previous\\n");
#endif
"""

NAMES_C = """\
/* Named after their contents: the same in all agents that compute the same, wherever linked together. */
#define weights {weights}
#define invoke {invoke}
#ifdef __ELF__
#define REPEATABLE __attribute__((weak)) /* a host may link it with several agents */
#else
#define REPEATABLE
#endif
"""


INTERFACE_C = """\
/* What the function of this library reads and writes: the loader compares it with what it was told. */
__attribute__((visibility("default"))) const char {name}[] =
{lines};
"""

HEADERS = frozenset(
    (
        "assert", "complex", "ctype", "endian", "errno", "fcntl", "features", "fenv", "float", "inttypes",
        "limits", "locale", "malloc", "math", "memory", "poll", "pthread", "sched", "search", "setjmp",
        "signal", "stdarg", "stdatomic", "stdbool", "stddef", "stdint", "stdio", "stdlib", "string",
        "strings", "threads", "time", "uchar", "unistd", "values", "wchar", "wctype", "arduino",
    )
)  # fmt: skip
"""Headers of C and of systems that others are written with."""


@dataclass(frozen=True)
class NativeSource:
    """Everything that is compiled: C text per level, and the constants, which all levels share.

    `symbol` is the agent's name in C. Only `entry` knows it, the text of `<symbol>_run`. Text and constants
    carry the names `invokes` and `weights_name`, which are digests of what they name: agents of different
    names that compute the same have equal libraries. `realtime` says that no branch depends on numbers.
    """

    symbol: str
    graph: Graph
    arena: Arena
    workspace: Workspace
    tiles: tuple[int, ...]
    texts: dict[IsaLevel, str]
    entry: str
    invokes: dict[IsaLevel, str]
    weights: bytes
    weights_name: str
    realtime: bool = False

    @property
    def flags(self) -> tuple[str, ...]:
        """Those of the C compiler, beside the levels' own."""
        return REALTIME_FLAGS if self.realtime else FLAGS

    @property
    def linking(self) -> tuple[str, ...]:
        """Those of a shared library."""
        return REALTIME_LINKING if self.realtime else ()

    def without_idle_tiles(self) -> NativeSource:
        """The same without the levels whose text multiplies nothing in their tiles, if another is left."""
        used = [level for level, text in self.texts.items() if not level.tiles or uses_tiles(text)]
        if not used:
            return self
        invokes = {level: self.invokes[level] for level in used}
        texts = {level: self.texts[level] for level in used}
        return replace(
            self, texts=texts, invokes=invokes, entry=entry(self.symbol, invokes, self.graph, self.realtime)
        )

    @property
    def scratch_bytes(self) -> int:
        """What a call needs as scratch, whatever its batch."""
        return self.arena.size * max(self.tiles) + self.workspace.size

    def interface(self, level: IsaLevel) -> str:
        """C text with what the library of `level` states of itself to Python's loader."""
        sides = (
            tuple(TensorSpec(v.name, v.shape[1:], v.dtype) for v in side)
            for side in (self.graph.inputs, self.graph.outputs)
        )
        text = interface_text(self.scratch_bytes, level.features, Signature(*sides))
        return interface_source(self.invokes[level], text)


def interface_source(invoke: str, text: str) -> str:
    """C text of a library whose function is `invoke` and which states `text` of itself."""
    lines = "\n".join(f'    "{line}\\n"' for line in text.splitlines())
    return INTERFACE_C.format(name=interface_name(invoke), lines=lines)


def render(
    graph: Graph,
    levels: Sequence[IsaLevel],
    tile: int,
    precision: Precision = "float32",
    compiler: str = "",
    exact: frozenset[Op] = frozenset(),
    realtime: bool = False,
) -> NativeSource:
    """C text for every level, the weights of products stored in `precision`, those of `exact` in float32.

    `tile` samples are computed together where a batch has as many. `compiler` is the version of the one that
    will compile it; what another one makes of the same text gets another name. With `realtime`, no branch
    depends on numbers; raises UnsupportedError where that cannot be.
    """
    layout: Layout = lay_out(graph)
    arena = plan(layout.steps)
    weights, workspace = Weights(precision, _weight_bytes(graph), exact), Workspace()
    tiles = (tile, 1) if tile > 1 else (1,)
    symbol = symbol_of(graph.name)
    bodies = {level: library(layout, arena, level, tiles, weights, workspace, realtime) for level in levels}
    content, flags = weights.content(), REALTIME_FLAGS if realtime else FLAGS
    constants = f"agent_{_digest(content)}_weights"
    invokes = {
        level: f"agent_{_digest(repr((compiler, flags, level)).encode(), body.encode(), content)}_invoke"
        for level, body in bodies.items()
    }
    return NativeSource(
        symbol,
        graph,
        arena,
        workspace,
        tiles,
        texts={
            level: NAMES_C.format(weights=constants, invoke=invokes[level]) + body
            for level, body in bodies.items()
        },
        entry=entry(symbol, invokes, graph, realtime),
        invokes=invokes,
        weights=content,
        weights_name=constants,
        realtime=realtime,
    )


def _digest(*parts: bytes) -> str:
    """128 bits of SHA-256 in hex, enough that no two contents ever meet."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()[:32]


def _weight_bytes(graph: Graph) -> int:
    """Bytes of the float32 weights of all products and recurrences."""
    products = (op for op in graph.ops if isinstance(op, (Linear, Convolve, Recurrent)))
    return sum(4 * value.elements for value in {op.weight for op in products})


@dataclass(frozen=True)
class Libraries:
    """The compiled agent, as bytes; those of one level by its name.

    `loaded` are for Python and nameless. `shared` and `static` are for hosts in C: all levels in one, with
    `<symbol>_run`.
    """

    loaded: dict[str, bytes]
    shared: bytes
    static: bytes

    def for_hosts(self, symbol: str) -> dict[str, bytes]:
        """Those for hosts by file name."""
        return {f"lib{symbol}.a": self.static, f"lib{symbol}.so": self.shared}


def compile_libraries(
    source: NativeSource, compiler: Compiler, flags: Sequence[str] | None = None
) -> Libraries:
    """The libraries, for Python and for hosts of the same objects. Raises BuildError when a tool fails."""
    flags = source.flags if flags is None else flags
    with tempfile.TemporaryDirectory(prefix="grandopt-native-") as name:
        folder = Path(name)
        (folder / "weights.bin").write_bytes(source.weights)
        (folder / "weights.c").write_text(WEIGHTS_C.format(name=source.weights_name), encoding="utf-8")
        compiler.run([*flags, "-c", "weights.c", "-o", "weights.o"], folder)

        def compiled(level: IsaLevel) -> tuple[str, bytes]:
            agent, interface = f"agent.{level.name}", f"interface.{level.name}.c"
            (folder / f"{agent}.c").write_text(source.texts[level], encoding="utf-8")
            compiler.run([*flags, *level.flags, "-c", f"{agent}.c", "-o", f"{agent}.o"], folder)
            (folder / interface).write_text(source.interface(level), encoding="utf-8")
            objects = [f"{agent}.o", "weights.o", interface]
            shared = [*source.linking, "-shared", *objects, "-o", f"{agent}.so", "-lm"]
            compiler.run([*flags, *shared], folder)
            return level.name, (folder / f"{agent}.so").read_bytes()

        with ThreadPoolExecutor(max_workers=len(source.texts)) as pool:  # each waits for its own compiler
            loaded = dict(pool.map(compiled, source.texts))
        (folder / "run.c").write_text(source.entry, encoding="utf-8")
        compiler.run([*flags, "-c", "run.c", "-o", "run.o"], folder)
        objects = [*(f"agent.{level.name}.o" for level in source.texts), "weights.o", "run.o"]
        compiler.run([*source.linking, "-shared", *objects, "-o", "library.so", "-lm"], folder)
        compiler.archive(objects, "library.a", folder)
        shared, static = ((folder / name).read_bytes() for name in ("library.so", "library.a"))
        return Libraries(loaded, shared, static)


def symbol_of(name: str) -> str:
    """The agent's name as a C identifier that no header of the system has for a name, in whose place its own
    would be found."""
    plain = re.sub(r"[^0-9A-Za-z_]", "_", name)
    return f"agent_{plain}" if not plain or plain[0].isdigit() or plain.lower() in HEADERS else plain
