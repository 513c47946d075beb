"""The generated C of small networks, as files: a refactor shows an empty diff, a change shows its effect.

Every line that indents does so by a tab for four spaces, which the generator never writes. After an intended
change, `python -m tests.native.test_golden` writes the files anew.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from grandopt.compiler.backends.native.build import render
from grandopt.compiler.backends.native.form import Graph
from grandopt.compiler.backends.native.levels import LEVELS
from grandopt.compiler.backends.native.passes.pipeline import simplify
from grandopt.compiler.backends.native.passes.quantize import quantize
from grandopt.compiler.backends.native.render.weights import Precision
from grandopt.compiler.backends.native.translate import translate
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from tests.native.convolutions import Causal
from tests.native.networks import Attention, Recurrent, Residual

FOLDER = Path(__file__).with_name("golden")

ALL = ("x86-64-v4-amx", "x86-64-v4", "x86-64-v3", "armv8-a")
"""One level of each length of vectors, and the one with tiles: the others' text is that of these."""
LARGE = ("x86-64-v4-amx", "x86-64-v4-bf16", "armv8.2-a-bf16")
"""Those that multiply differently where a product is large."""

# Each as small as its kernels allow: the text grows with rows and columns of a block, not with the depth.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], tuple[str, ...]]] = {
    "policy": (
        lambda: nn.Sequential(
            nn.Linear(10, 18), nn.LayerNorm(18), nn.Tanh(), nn.Linear(18, 3), nn.Softmax(-1)
        ),
        (10,),
        ALL,
    ),
    "attention": (lambda: Attention(8, 2, causal=True), (2, 8), ALL),
    # Dot products along 60 inputs, then a block of 6 rows and one of the row that is left.
    "rows": (lambda: nn.Sequential(nn.Linear(60, 3), nn.Tanh(), nn.Linear(3, 5)), (7, 60), ALL),
    "recurrent": (lambda: Recurrent(nn.LSTM, 5, 18, 1, False, last=True), (2, 5), ALL),
    # Large enough for tiles and for rounded inputs; elsewhere it says no more than "rows" and "recurrent" do.
    "wide": (lambda: Recurrent(nn.LSTM, 40, 64, 1, False, last=True), (18, 40), LARGE),
    # A border on the left whose taps are left out, a residual in registers, and taps that are apart.
    "convolutions": (
        lambda: nn.Sequential(Residual(Causal(6, 6, 2, 2, crop=True)), nn.ReLU(), nn.Conv1d(6, 5, 2)),
        (6, 7),
        ALL,
    ),
    "quantized": (lambda: Recurrent(nn.LSTM, 64, 32, 1, False, last=True), (2, 64), ALL),
    # Three tiles of rows, or six blocks of 6 and one row; a vector and a part of one in columns.
    "quantized_rows": (lambda: nn.Sequential(nn.Linear(256, 17), nn.ReLU()), (37, 256), ALL),
}
CASES = [(name, level) for name, (_, _, levels) in NETWORKS.items() for level in levels]


@functools.cache
def graph_of(name: str) -> Graph:
    """The network as the engine renders it."""
    make, shape, _ = NETWORKS[name]
    torch.manual_seed(0)
    exported = capture(from_module(name, make().eval(), (torch.zeros(2, *shape),)), 0).exported
    assert exported is not None
    graph = simplify(translate(name, exported))
    return quantize(graph) if name.startswith("quantized") else graph


def generated(name: str, level: str) -> str:
    """The agent's own part of the C file: what follows the headers that all agents share."""
    levels = [candidate for candidate in LEVELS if candidate.name == level]
    reduced = levels[0].pairs and not name.startswith("quantized")
    precision: Precision = "bfloat16" if reduced else "float32"
    (text,) = render(graph_of(name), levels, 1, precision).texts.values()
    own = text.partition("extern const unsigned char weights[];\n")[2].lstrip("\n")
    return re.sub("^(    )+", lambda spaces: "\t" * (len(spaces[0]) // 4), own, flags=re.MULTILINE)


@pytest.mark.parametrize(("name", "level"), CASES)
def test_generated_text_is_the_stored_one(name: str, level: str) -> None:
    stored = FOLDER / f"{name}.{level}.c"
    assert generated(name, level) == stored.read_text(encoding="utf-8"), (
        f"{stored.name} differs; if that is meant, run python -m tests.native.test_golden"
    )


def test_no_other_text_is_stored() -> None:
    stored = {path.name for path in FOLDER.iterdir()}
    assert stored == {f"{name}.{level}.c" for name, level in CASES}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.c"):
        path.unlink()
    for network, each in CASES:
        (FOLDER / f"{network}.{each}.c").write_text(generated(network, each), encoding="utf-8")
