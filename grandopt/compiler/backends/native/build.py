"""Rendered C → shared objects, one per feature level, and what a caller must know of them."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from grandopt.compiler.backends.native.form import Graph
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
    weights, workspace = Weights(precision), Workspace()
    tiles = (tile, 1) if tile > 1 else (1,)
    symbol = symbol_of(graph.name)
    texts = {level: library(symbol, layout, arena, level, tiles, weights, workspace) for level in levels}
    return Source(symbol, graph, arena, workspace, tiles, texts, weights.content())


def compile_libraries(source: Source, compiler: Compiler, flags: Sequence[str] = FLAGS) -> dict[str, bytes]:
    """File name → bytes of one shared object per level. Raises BuildError when the compiler fails."""
    with tempfile.TemporaryDirectory(prefix="grandopt-native-") as name:
        folder = Path(name)
        (folder / "weights.bin").write_bytes(source.weights)
        (folder / "weights.c").write_text(WEIGHTS_C.format(symbol=source.symbol), encoding="utf-8")

        def compiled(item: tuple[Level, str]) -> tuple[str, bytes]:
            level, text = item
            c, so = f"agent.{level.name}.c", f"agent.{level.name}.so"
            (folder / c).write_text(text, encoding="utf-8")
            compiler.run([*flags, *level.flags, "-shared", c, "weights.c", "-o", so, "-lm"], folder)
            return so, (folder / so).read_bytes()

        with ThreadPoolExecutor(max_workers=len(source.texts)) as pool:  # each waits for its own compiler
            return dict(pool.map(compiled, source.texts.items()))


def symbol_of(name: str) -> str:
    """The agent's name as a C identifier."""
    plain = re.sub(r"[^0-9A-Za-z_]", "_", name)
    return f"agent_{plain}" if not plain or plain[0].isdigit() else plain
