"""Rendered C → libraries, shared and static per feature level, and what a caller must know of them."""

from __future__ import annotations

import hashlib
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
from grandopt.compiler.backends.native.render.entry import entry
from grandopt.compiler.backends.native.render.library import library
from grandopt.compiler.backends.native.render.weights import Precision, Weights
from grandopt.compiler.backends.native.render.workspace import Workspace
from grandopt.compiler.backends.native.toolchain import FLAGS, Compiler

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


@dataclass(frozen=True)
class Source:
    """Everything that is compiled: C text per level, and the constants, which all levels share.

    `symbol` is the agent's name in C. Only `entries` know it, the texts of `<symbol>_run`. Text and constants
    carry the names `invokes` and `weights_name`, which are digests of what they name: agents of different
    names that compute the same have equal libraries.
    """

    symbol: str
    graph: Graph
    arena: Arena
    workspace: Workspace
    tiles: tuple[int, ...]
    texts: dict[Level, str]
    entries: dict[Level, str]
    invokes: dict[Level, str]
    weights: bytes
    weights_name: str

    @property
    def scratch_bytes(self) -> int:
        """What a call needs as scratch, whatever its batch."""
        return self.arena.size * max(self.tiles) + self.workspace.size


def render(
    graph: Graph, levels: Sequence[Level], tile: int, precision: Precision = "float32", compiler: str = ""
) -> Source:
    """C text for every level, the weights of products stored in `precision`.

    `tile` samples are computed together where a batch has as many. `compiler` is the version of the one that
    will compile it; what another one makes of the same text gets another name.
    """
    layout: Layout = lay_out(graph)
    arena = plan(layout.steps)
    weights, workspace = Weights(precision, _weight_bytes(graph)), Workspace()
    tiles = (tile, 1) if tile > 1 else (1,)
    symbol = symbol_of(graph.name)
    bodies = {level: library(layout, arena, level, tiles, weights, workspace) for level in levels}
    content = weights.content()
    constants = f"agent_{_digest(content)}_weights"
    invokes = {
        level: f"agent_{_digest(repr((compiler, FLAGS, level)).encode(), body.encode(), content)}_invoke"
        for level, body in bodies.items()
    }
    return Source(
        symbol,
        graph,
        arena,
        workspace,
        tiles,
        texts={
            level: NAMES_C.format(weights=constants, invoke=invokes[level]) + body
            for level, body in bodies.items()
        },
        entries={level: entry(symbol, invokes[level], graph, level) for level in levels},
        invokes=invokes,
        weights=content,
        weights_name=constants,
    )


def _digest(*parts: bytes) -> str:
    """128 bits of SHA-256 in hex, enough that no two contents ever meet."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()[:32]


def _weight_bytes(graph: Graph) -> int:
    """Bytes of the float32 weights of all products and recurrences."""
    products = (op for op in graph.ops if isinstance(op, (Linear, Recurrent)))
    return sum(4 * value.elements for value in {op.inputs[1] for op in products})


@dataclass(frozen=True)
class Libraries:
    """The compiled agent, as bytes by the name of the level.

    `loaded` are for Python and nameless, `shared` and `static` for hosts in C: with `<symbol>_run`.
    """

    loaded: dict[str, bytes]
    shared: dict[str, bytes]
    static: dict[str, bytes]

    def for_hosts(self, symbol: str) -> dict[str, bytes]:
        """Those for hosts by file name."""
        static = {f"lib{symbol}.{level}.a": content for level, content in self.static.items()}
        shared = {f"lib{symbol}.{level}.so": content for level, content in self.shared.items()}
        return {**static, **shared}


def compile_libraries(source: Source, compiler: Compiler, flags: Sequence[str] = FLAGS) -> Libraries:
    """The libraries of every level, of the same objects. Raises BuildError when a tool fails."""
    with tempfile.TemporaryDirectory(prefix="grandopt-native-") as name:
        folder = Path(name)
        (folder / "weights.bin").write_bytes(source.weights)
        (folder / "weights.c").write_text(WEIGHTS_C.format(name=source.weights_name), encoding="utf-8")
        compiler.run([*flags, "-c", "weights.c", "-o", "weights.o"], folder)

        def compiled(level: Level) -> tuple[str, bytes, bytes, bytes]:
            agent, run, library = (f"{stem}.{level.name}" for stem in ("agent", "run", "library"))
            for stem, text in ((agent, source.texts[level]), (run, source.entries[level])):
                (folder / f"{stem}.c").write_text(text, encoding="utf-8")
                compiler.run([*flags, *level.flags, "-c", f"{stem}.c", "-o", f"{stem}.o"], folder)
            objects = [f"{agent}.o", "weights.o"]
            compiler.run(["-shared", *objects, "-o", f"{agent}.so", "-lm"], folder)
            objects.append(f"{run}.o")
            compiler.run(["-shared", *objects, "-o", f"{library}.so", "-lm"], folder)
            compiler.archive(objects, f"{library}.a", folder)
            made = (f"{agent}.so", f"{library}.so", f"{library}.a")
            loaded, shared, static = ((folder / name).read_bytes() for name in made)
            return level.name, loaded, shared, static

        with ThreadPoolExecutor(max_workers=len(source.texts)) as pool:  # each waits for its own compiler
            done = list(pool.map(compiled, source.texts))
        return Libraries(
            loaded={level: loaded for level, loaded, _, _ in done},
            shared={level: shared for level, _, shared, _ in done},
            static={level: static for level, _, _, static in done},
        )


def symbol_of(name: str) -> str:
    """The agent's name as a C identifier."""
    plain = re.sub(r"[^0-9A-Za-z_]", "_", name)
    return f"agent_{plain}" if not plain or plain[0].isdigit() else plain
