"""Rendered C → libraries, shared and static per feature level, and what a caller must know of them."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from grandopt.compiler.backends.native.form import Graph, Linear, Recurrent
from grandopt.compiler.backends.native.layout import Layout, lay_out
from grandopt.compiler.backends.native.levels import Level
from grandopt.compiler.backends.native.memory import Arena, plan
from grandopt.compiler.backends.native.render.library import library
from grandopt.compiler.backends.native.render.weights import Precision, Weights
from grandopt.compiler.backends.native.render.workspace import Workspace
from grandopt.compiler.backends.native.toolchain import FLAGS, Compiler

WEIGHTS_C = """\
/* The bytes of weights.bin, aligned, as the symbol {symbol}_weights. */
#ifdef __APPLE__
__asm__(".const\\n.balign 64\\n.globl _{symbol}_weights\\n.private_extern _{symbol}_weights\\n"
        "_{symbol}_weights:\\n.incbin \\"weights.bin\\"\\n.text\\n");
#else
__asm__(".section .rodata\\n.balign 64\\n.globl {symbol}_weights\\n.hidden {symbol}_weights\\n"
        "{symbol}_weights:\\n.incbin \\"weights.bin\\"\\n.previous\\n");
#endif
"""


@dataclass(frozen=True)
class Source:
    """Everything that is compiled: C text per level, and the constants, which all levels share."""

    symbol: str
    graph: Graph
    arena: Arena
    workspace: Workspace
    tiles: tuple[int, ...]
    texts: dict[Level, str]
    weights: bytes

    @property
    def scratch_bytes(self) -> int:
        """What a call needs as scratch, whatever its batch."""
        return self.arena.size * max(self.tiles) + self.workspace.size


def render(graph: Graph, levels: Sequence[Level], tile: int, precision: Precision = "float32") -> Source:
    """C text for every level, the weights of products stored in `precision`.

    `tile` samples are computed together where a batch has as many.
    """
    layout: Layout = lay_out(graph)
    arena = plan(layout.steps)
    weights, workspace = Weights(precision, _weight_bytes(graph)), Workspace()
    tiles = (tile, 1) if tile > 1 else (1,)
    symbol = symbol_of(graph.name)
    texts = {level: library(symbol, layout, arena, level, tiles, weights, workspace) for level in levels}
    return Source(symbol, graph, arena, workspace, tiles, texts, weights.content())


def _weight_bytes(graph: Graph) -> int:
    """Bytes of the float32 weights of all products and recurrences."""
    products = (op for op in graph.ops if isinstance(op, (Linear, Recurrent)))
    return sum(4 * value.elements for value in {op.inputs[1] for op in products})


@dataclass(frozen=True)
class Libraries:
    """The compiled agent, as bytes by the name of the level."""

    shared: dict[str, bytes]
    static: dict[str, bytes]


def compile_libraries(source: Source, compiler: Compiler, flags: Sequence[str] = FLAGS) -> Libraries:
    """A shared and a static library per level, of the same objects. Raises BuildError when a tool fails."""
    with tempfile.TemporaryDirectory(prefix="grandopt-native-") as name:
        folder = Path(name)
        (folder / "weights.bin").write_bytes(source.weights)
        (folder / "weights.c").write_text(WEIGHTS_C.format(symbol=source.symbol), encoding="utf-8")
        compiler.run([*flags, "-c", "weights.c", "-o", "weights.o"], folder)

        def compiled(item: tuple[Level, str]) -> tuple[str, bytes, bytes]:
            level, text = item
            stem = f"agent.{level.name}"
            (folder / f"{stem}.c").write_text(text, encoding="utf-8")
            objects = [f"{stem}.o", "weights.o"]
            compiler.run([*flags, *level.flags, "-c", f"{stem}.c", "-o", objects[0]], folder)
            compiler.run(["-shared", *objects, "-o", f"{stem}.so", "-lm"], folder)
            compiler.archive(objects, f"{stem}.a", folder)
            return level.name, (folder / f"{stem}.so").read_bytes(), (folder / f"{stem}.a").read_bytes()

        with ThreadPoolExecutor(max_workers=len(source.texts)) as pool:  # each waits for its own compiler
            done = list(pool.map(compiled, source.texts.items()))
        return Libraries(
            shared={level: shared for level, shared, _ in done},
            static={level: static for level, _, static in done},
        )


def symbol_of(name: str) -> str:
    """The agent's name as a C identifier."""
    plain = re.sub(r"[^0-9A-Za-z_]", "_", name)
    return f"agent_{plain}" if not plain or plain[0].isdigit() else plain
