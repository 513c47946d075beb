"""The operator suite under AddressSanitizer and UndefinedBehaviorSanitizer.

Each network becomes a C program whose inputs, outputs and scratch are allocated to the byte, so that a read
or write beyond them ends it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from torch import nn

from grandopt.artifacts.machine import architecture
from grandopt.compiler.backends.native.build import WEIGHTS_C, NativeSource, render
from grandopt.compiler.backends.native.form import Value
from grandopt.compiler.backends.native.levels import LEVELS as ALL_LEVELS
from grandopt.compiler.backends.native.passes.pipeline import simplify
from grandopt.compiler.backends.native.passes.quantize import quantize
from grandopt.compiler.backends.native.render.text import C_TYPES
from grandopt.compiler.backends.native.render.weights import Precision
from grandopt.compiler.backends.native.toolchain import FLAGS, Compiler
from grandopt.compiler.backends.native.translate import translate
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.compiler.networks.reference import REFERENCE
from grandopt.compiler.networks.reference import build as reference
from tests.native.conftest import LEVELS, REDUCED
from tests.native.convolutions import draw_chains
from tests.native.networks import Recurrent, draw

SANITIZE = ("-g", "-O1", "-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all")
STRICT = ("-std=c11", "-Wall", "-Wextra", "-Werror")
COMPILERS = ("gcc", "clang")

MAIN = """
#include <stdint.h>
#include <stdlib.h>
int {invoke}(const void *const *in, void *const *out, int64_t batch, void *scratch);
int main(void) {{
    for (int64_t batch = 1; batch <= 11; batch += 5) {{
        const void *in[] = {{{inputs}}};
        void *out[] = {{{outputs}}};
        {fill}
        unsigned char *scratch;
        if (posix_memalign((void **)&scratch, 64, {scratch} + 1) != 0) return 5;
        if ({invoke}(in, out, batch, scratch) != 0) return 1;
        if ({invoke}(in, out, 0, scratch) != 1) return 2;
        if ({invoke}(in, out, INT64_MAX, scratch) != 1) return 3;
        if ({scratch} > 0 && {invoke}(in, out, batch, scratch + 1) != 4) return 4;
        free(scratch);
        for (unsigned i = 0; i < sizeof in / sizeof *in; ++i) free((void *)in[i]);
        for (unsigned i = 0; i < sizeof out / sizeof *out; ++i) free(out[i]);
    }}
    return 0;
}}
"""


def compiler_named(name: str) -> Compiler:
    """That compiler, or a skipped test where it is not installed."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return Compiler((path,), name)


def _size(value: Value) -> str:
    return f"batch * {value.elements} * sizeof({C_TYPES[value.dtype]})"


def _program(source: NativeSource) -> str:
    fill = [
        f"for (int64_t i = 0; i < batch * {value.elements}; ++i) "
        f"(({C_TYPES[value.dtype]} *)in[{number}])[i] = i % 13 - 6;"
        for number, value in enumerate(source.graph.inputs)
    ]
    return MAIN.format(
        invoke=next(iter(source.invokes.values())),
        inputs=", ".join(f"malloc({_size(value)})" for value in source.graph.inputs),
        outputs=", ".join(f"malloc({_size(value)})" for value in source.graph.outputs),
        fill=" ".join(fill),
        scratch=source.scratch_bytes,
    )


def _check(
    module: nn.Module,
    examples: tuple[torch.Tensor, ...],
    level: str,
    folder: Path,
    precision: Precision = "float32",
    *,
    int8: bool = False,
    name: str = "gcc",
) -> None:
    exported = capture(from_module("checked", module, examples), 0).exported
    assert exported is not None
    levels = [candidate for candidate in ALL_LEVELS if candidate.name == level]
    graph = simplify(translate("checked", exported))
    source = render(quantize(graph) if int8 else graph, levels, 4, precision)
    (text,) = source.texts.values()
    (folder / "agent.c").write_text(text)
    (folder / "weights.bin").write_bytes(source.weights)
    (folder / "weights.c").write_text(WEIGHTS_C.format(name=source.weights_name))
    (folder / "main.c").write_text(_program(source))
    plain = [flag for flag in FLAGS if flag not in ("-O2", "-fwrapv", "-std=gnu11")]
    compiler = compiler_named(name)
    compiler.run([*plain, *STRICT, *levels[0].flags, "-c", "agent.c", "-o", "agent.o"], folder)
    files = ["agent.c", "weights.c", "main.c", "-o", "checked", "-lm"]
    compiler.run(["-std=gnu11", *plain, *SANITIZE, *levels[0].flags, *files], folder)
    # Leaks are looked for through ptrace, which containers forbid; the program frees what it allocates.
    environment = os.environ | {"ASAN_OPTIONS": "detect_leaks=0"}
    done = subprocess.run(
        [folder / "checked"], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[:3000]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    "seed", [3, *(pytest.param(seed, marks=pytest.mark.stress) for seed in range(200, 260))]
)
def test_random_networks_stay_within_their_memory(tmp_path: Path, seed: int, level: str) -> None:
    network, shape = draw(seed)
    _check(network, (torch.zeros(2, *shape),), level, tmp_path)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    "seed",
    [
        *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2)),
        *(pytest.param(seed, marks=pytest.mark.stress) for seed in range(2, 40)),
    ],
)
def test_chains_of_convolutions_stay_within_their_memory(tmp_path: Path, seed: int, level: str) -> None:
    network, shape = draw_chains(seed)
    _check(network, (torch.zeros(2, *shape),), level, tmp_path)


@pytest.mark.stress
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", sorted(REFERENCE))
def test_reference_agents_stay_within_their_memory(tmp_path: Path, name: str, level: str) -> None:
    shapes = [spec.shape for spec in REFERENCE[name].inputs]
    _check(reference(name), tuple(torch.zeros(2, *shape) for shape in shapes), level, tmp_path)


class Picker(nn.Module):
    """Embedding rows, one of them out of the table for the inputs of `MAIN`."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(13, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.table((x + 6).long()).sum(1).round().to(torch.int64)


@pytest.mark.parametrize("level", LEVELS)
def test_indices_and_whole_numbers_stay_within_their_memory(tmp_path: Path, level: str) -> None:
    _check(Picker().eval(), (torch.zeros(2, 7),), level, tmp_path)


@pytest.mark.stress
@pytest.mark.parametrize("level", REDUCED)
def test_products_in_bfloat16_stay_within_their_memory(tmp_path: Path, level: str) -> None:
    torch.manual_seed(0)
    layers = (
        nn.Linear(71, 77),
        nn.GELU(),
        Recurrent(nn.LSTM, 77, 75, 1, True, last=False),
        nn.Linear(150, 35),
    )
    _check(nn.Sequential(*layers).eval(), (torch.zeros(2, 19, 71),), level, tmp_path, "bfloat16")


class Kinds(nn.Module):
    """Outputs of every width: masks of floats, whole numbers, and float64."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (
            x > 0, torch.isnan(x), (x.sigmoid() > 0.5) & (x < 2), (x // 2).to(torch.uint8), x.long() % 3,
            (x * 1e30).to(torch.int8), (x / 0).to(torch.int32), x.double().softmax(-1), x.log_softmax(-1),
            torch.var_mean(x, -1)[1], x.argmax(-1), x % 0.3, x.amax(-1) == x[:, 0],
        )  # fmt: skip


def _widths() -> list[object]:
    """Each level and each compiler is fast in one of their pairs, the others are slow."""
    return [
        pytest.param(width, level, compiler, marks=() if fast else pytest.mark.slow)
        for width in (13, 33)
        for number, level in enumerate(LEVELS)
        for compiler in COMPILERS
        if (fast := width == 13 and compiler == COMPILERS[number % 2]) or True
    ]


@pytest.mark.parametrize(("width", "level", "compiler"), _widths())
def test_outputs_of_every_width_stay_within_their_memory(
    tmp_path: Path, width: int, level: str, compiler: str
) -> None:
    _check(Kinds().eval(), (torch.zeros(2, width),), level, tmp_path, name=compiler)


def _ten() -> list[object]:
    slow, stress = pytest.mark.slow, pytest.mark.stress
    return [pytest.param(seed, marks=slow if seed < 204 else stress) for seed in range(200, 210)]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("seed", _ten())
def test_clang_finds_nothing_either(tmp_path: Path, seed: int, level: str) -> None:
    network, shape = draw(seed)
    _check(network, (torch.zeros(2, *shape),), level, tmp_path, name="clang")


@pytest.mark.slow
@pytest.mark.parametrize("compiler", COMPILERS)
def test_every_level_compiles_without_a_warning(tmp_path: Path, compiler: str) -> None:
    """Those, too, that this machine cannot run."""
    exported = capture(from_module("strict", Kinds().eval(), (torch.zeros(2, 13),)), 0).exported
    assert exported is not None
    here = [level for level in ALL_LEVELS if level.architecture == architecture()]
    source = render(simplify(translate("strict", exported)), here, 4)
    files = [(text, level.flags) for level, text in source.texts.items()]
    for text, features in (*files, (source.entry, ())):
        (tmp_path / "one.c").write_text(text)
        flags = [*STRICT, "-O2", "-Wno-psabi", *features]
        compiler_named(compiler).run([*flags, "-c", "one.c", "-o", "one.o"], tmp_path)


class Quantized(nn.Module):
    """A product of many rows, one of a single row, and a recurrence, all of sizes that leave remainders."""

    def __init__(self) -> None:
        super().__init__()
        self.many, self.one = nn.Linear(65, 66), nn.Linear(38, 110)
        self.gru = nn.GRU(66, 38, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.one(self.gru(self.many(x))[0][:, -1]))


@pytest.mark.slow
@pytest.mark.parametrize(
    "level",
    [level if level == REDUCED[0] else pytest.param(level, marks=pytest.mark.stress) for level in REDUCED],
)
def test_int8_weights_stay_within_their_memory(tmp_path: Path, level: str) -> None:
    _check(Quantized().eval(), (torch.zeros(2, 17, 65),), level, tmp_path, int8=True)
