"""The generated C of small networks, as files: a refactor shows an empty diff, a change shows its effect.

After an intended change, `python -m tests.native.test_golden` writes them anew.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from grandopt.compiler.backends.native.build import render
from grandopt.compiler.backends.native.levels import LEVELS
from grandopt.compiler.backends.native.passes.pipeline import simplify
from grandopt.compiler.backends.native.passes.quantize import quantize
from grandopt.compiler.backends.native.render.weights import Precision
from grandopt.compiler.backends.native.translate import translate
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.memory import from_module
from tests.native.networks import Attention, Recurrent

FOLDER = Path(__file__).with_name("golden")

NETWORKS = {
    "policy": (
        lambda: nn.Sequential(
            nn.Linear(10, 20), nn.LayerNorm(20), nn.Tanh(), nn.Linear(20, 3), nn.Softmax(-1)
        ),
        (10,),
    ),
    "attention": (lambda: Attention(8, 2, causal=True), (3, 8)),
    "recurrent": (lambda: Recurrent(nn.LSTM, 5, 18, 1, False, last=True), (4, 5)),
    "wide": (lambda: Recurrent(nn.LSTM, 40, 64, 1, False, last=True), (18, 40)),
    "quantized": (
        lambda: nn.Sequential(
            nn.Linear(64, 64), nn.ReLU(), Recurrent(nn.LSTM, 64, 32, 1, False, last=True), nn.Linear(64, 128)
        ),
        (17, 64),
    ),
}


def generated(name: str, level: str) -> str:
    """The agent's own part of the C file: what follows the headers that all agents share."""
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    exported = capture(from_module(name, make().eval(), (torch.zeros(2, *shape),)), 0).exported
    assert exported is not None
    levels = [candidate for candidate in LEVELS if candidate.name == level]
    precision: Precision = "bfloat16" if levels[0].reduced else "float32"
    graph = simplify(translate(name, exported))
    if name == "quantized":
        graph, precision = quantize(graph), "float32"
    (text,) = render(graph, levels, 1, precision).texts.values()
    return text.partition("extern const unsigned char weights[];\n")[2].lstrip("\n")


@pytest.mark.parametrize("level", [level.name for level in LEVELS])
@pytest.mark.parametrize("name", NETWORKS)
def test_generated_text_is_the_stored_one(name: str, level: str) -> None:
    stored = FOLDER / f"{name}.{level}.c"
    assert generated(name, level) == stored.read_text(encoding="utf-8"), (
        f"{stored.name} differs; if that is meant, run python -m tests.native.test_golden"
    )


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for network in NETWORKS:
        for each in LEVELS:
            path = FOLDER / f"{network}.{each.name}.c"
            path.write_text(generated(network, each.name), encoding="utf-8")
