"""Every feature level is compiled, with warnings as errors, and its machine code holds its instructions.

That is all that can be known of a level which neither this CPU nor an emulator has.
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from grandopt.compiler.backends.native.build import render
from grandopt.compiler.backends.native.form import Graph
from grandopt.compiler.backends.native.levels import LEVELS, IsaLevel, StoredWeights
from grandopt.compiler.backends.native.passes.pipeline import simplify
from grandopt.compiler.backends.native.passes.quantize import quantize
from grandopt.compiler.backends.native.render import entry
from grandopt.compiler.backends.native.render.weights import Precision
from grandopt.compiler.backends.native.toolchain import FLAGS, Compiler
from grandopt.compiler.backends.native.translate import translate
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from tests.native.convolutions import Causal
from tests.native.networks import Apply, Residual
from tests.native.programs import compiler_for

STRICT = ("-Wall", "-Wextra", "-Werror")
INSTRUCTIONS = {
    "amx_int8": r"tdpbusd\s",
    "amx_bf16": r"tdpbf16ps\s",
    "avx512_vnni": r"(?<!\} )vpdpbusd .*%zmm",
    "avx512_bf16": r"vdpbf16ps .*%zmm",
    "avx_vnni": r"\{vex\} vpdpbusd .*%ymm",
    "asimddp": r"sdot\tv",
    "bf16": r"bfdot\tv",
}
"""By the feature that brings it, as objdump shows it."""
WANTED: dict[tuple[str, StoredWeights], set[str]] = {
    ("x86-64-v4-amx", "int8"): {"amx_int8", "avx512_vnni"},
    ("x86-64-v4-amx", "bfloat16"): {"amx_bf16", "avx512_bf16"},
    ("x86-64-v4-vnni", "int8"): {"avx512_vnni"},
    ("x86-64-v4-bf16", "bfloat16"): {"avx512_bf16"},
    ("x86-64-v3-avxvnni", "int8"): {"avx_vnni"},
    ("armv8.2-a-dotprod", "int8"): {"asimddp"},
    ("armv8.2-a-bf16", "bfloat16"): {"bf16"},
}
"""The instructions that a level's code has; that of all others has none."""


class Products(nn.Module):
    """A product of many rows, a recurrence, and one of a single row."""

    def __init__(self) -> None:
        super().__init__()
        self.many, self.one = nn.Linear(70, 66), nn.Linear(40, 110)
        self.lstm = nn.LSTM(66, 40, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.one(self.lstm(self.many(x))[0][:, -1]))


@functools.cache
def graphs() -> dict[StoredWeights, Graph]:
    """The network as it is rendered for each kind of weights."""
    exported = capture(from_module("products", Products().eval(), (torch.zeros(2, 20, 70),)), 0).exported
    assert exported is not None
    graph = simplify(translate("products", exported))
    return {"float32": graph, "bfloat16": graph, "int8": quantize(graph)}


def _padded() -> nn.Module:
    """Images: borders, channels one by one, and large enough for tiles."""
    layers = nn.Conv2d(3, 20, 3, padding=1), nn.ReLU(), nn.Conv2d(20, 20, 3, 2, 1, groups=20)
    return nn.Sequential(*layers, nn.Tanh(), nn.Conv2d(20, 40, 3), nn.Flatten(), nn.Linear(640, 5))


def _apart() -> nn.Module:
    """Steps: taps that are apart, a residual, and a sum of more than one part."""
    block = Residual(nn.Sequential(Causal(33, 33, 3, 2, crop=True), nn.ReLU()))
    return nn.Sequential(nn.Conv1d(300, 33, 2, stride=2), block, Apply(lambda x: x[..., -1]))


def _spread() -> nn.Module:
    """Groups, and what a transposed convolution reads: zeros between neighbours."""
    return nn.Sequential(
        nn.ConvTranspose1d(6, 10, 3, stride=2, output_padding=1), nn.GELU(), nn.Conv1d(10, 34, 3, groups=2)
    )


CONVOLUTIONS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "padded": (_padded, (3, 12, 12)),
    "apart": (_apart, (300, 20)),
    "spread": (_spread, (6, 9)),
    "long": (lambda: nn.Conv1d(32, 32, 3, padding=1), (32, 60)),
}


@functools.cache
def convolutions(name: str) -> Graph:
    make, shape = CONVOLUTIONS[name]
    exported = capture(from_module(name, make().eval(), (torch.zeros(2, *shape),)), 0).exported
    assert exported is not None
    return simplify(translate(name, exported))


def _convolution_cases() -> Iterator[Any]:
    """One for each architecture is fast, one for each level and kind of weights slow, all of them stress."""
    plain = {"x86_64": "x86-64-v3", "aarch64": "armv8-a"}
    for name, level, weights in product(CONVOLUTIONS, LEVELS, ("float32", "bfloat16")):
        first = name == next(iter(CONVOLUTIONS))
        fast = first and level.name == plain[level.architecture] and weights == "float32"
        mark = () if fast else pytest.mark.slow if first else pytest.mark.stress
        yield pytest.param(name, level, weights, id=f"{name}-{level.name}-{weights}", marks=mark)


@pytest.mark.parametrize(("name", "level", "weights"), list(_convolution_cases()))
def test_convolutions_compile_without_a_warning(
    tmp_path: Path, name: str, level: IsaLevel, weights: Precision
) -> None:
    source = render(convolutions(name), [level], 4, weights)
    (tmp_path / "agent.c").write_text(source.texts[level], encoding="utf-8")
    compiler = compiler_for(level.architecture)
    compiler.run([*FLAGS, *STRICT, *level.flags, "-c", "agent.c", "-o", "agent.o"], tmp_path)


def disassembled(compiler: Compiler, file: Path) -> str:
    found = subprocess.run(
        [*compiler.command, "-print-prog-name=objdump"], capture_output=True, text=True, check=True
    )
    tool = shutil.which(found.stdout.strip())
    if tool is None:
        pytest.skip("objdump is not installed")
    done = subprocess.run(
        [tool, "-d", "--no-show-raw-insn", file], capture_output=True, text=True, check=True
    )
    return done.stdout


Code = Callable[[IsaLevel, StoredWeights], str]


@pytest.fixture(scope="module")
def code_of(tmp_path_factory: pytest.TempPathFactory) -> Code:
    """`code_of(level, weights)`: the machine code of `graphs`, compiled once for all who look at it."""

    @functools.cache
    def made(level: IsaLevel, weights: StoredWeights) -> str:
        precision: Precision = "bfloat16" if weights == "bfloat16" else "float32"
        return _compiled(graphs()[weights], level, precision, tmp_path_factory.mktemp("code"))

    return made


def _compiled(graph: Graph, level: IsaLevel, precision: Precision, folder: Path) -> str:
    compiler = compiler_for(level.architecture)
    (folder / "agent.c").write_text(render(graph, [level], 1, precision).texts[level], encoding="utf-8")
    compiler.run([*FLAGS, *STRICT, *level.flags, "-c", "agent.c", "-o", "agent.o"], folder)
    return disassembled(compiler, folder / "agent.o")


@pytest.mark.parametrize(
    ("level", "weights"),
    [
        # What a level is for first is fast, what it gains beside that is slow.
        pytest.param(level, weights, marks=() if number == 0 else pytest.mark.slow)
        for level in LEVELS
        for number, weights in enumerate(level.gains)
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_a_levels_code_has_its_instructions_and_no_others(
    code_of: Code, level: IsaLevel, weights: StoredWeights
) -> None:
    code = code_of(level, weights)
    found = {feature for feature, pattern in INSTRUCTIONS.items() if re.search(pattern, code)}
    assert found == WANTED.get((level.name, weights), set())
    assert found <= set(level.features)


SPILLS = {
    "x86_64": r"vmov\w+\s+%[xyz]mm\d+,-?(0x)?[0-9a-f]*\(%r[sb]p",
    "aarch64": r"\sst[rp]\s+q\d+.*\[(sp|x29)",
}
"""A vector that is stored on the stack."""
MULTIPLIES = r"vfmadd|fmla\s|dpb|[us]dot\s|bfdot\s"


def innermost_loops(code: str) -> Iterator[list[str]]:
    """The instructions of each loop of objdump's text that has none within."""
    lines = [line.partition(":") for line in code.splitlines() if re.match(r"\s+[0-9a-f]+:\t", line)]
    at = {address.strip(): n for n, (address, _, _) in enumerate(lines)}
    ends = []
    for n, (_, _, text) in enumerate(lines):
        jump = re.match(r"\t(?:j\w+|b\.\w+|cbn?z\s+\w+,)\s+([0-9a-f]+) <", text)
        if jump and (start := at.get(jump[1], n)) < n:
            ends.append((start, n))
    for start, end in ends:
        if not any(start <= s and e <= end and (s, e) != (start, end) for s, e in ends):
            yield [text for _, _, text in lines[start : end + 1]]


@pytest.mark.parametrize(
    ("level", "weights"),
    [
        (level, weights)
        for level in LEVELS
        for weights in level.gains
        if weights != "int8" or (level.name, weights) in WANTED
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_sums_stay_in_registers(code_of: Code, level: IsaLevel, weights: StoredWeights) -> None:
    """The compiler's intrinsics of some instructions copied and stored every sum, at half of the speed."""
    assert _loops_without_spills(code_of(level, weights), level) or level.tiles


@pytest.mark.parametrize("name", ["x86-64-v3", "armv8-a"])
def test_sums_of_convolutions_stay_in_registers(tmp_path: Path, name: str) -> None:
    """Of bfloat16, whose words become two vectors in registers."""
    level = next(level for level in LEVELS if level.name == name)
    assert _loops_without_spills(_compiled(convolutions("long"), level, "bfloat16", tmp_path), level)


def _loops_without_spills(code: str, level: IsaLevel) -> int:
    """How many loops multiply in earnest; fails where one of them stores more than a sum in eight."""
    multiplying = 0
    for loop in innermost_loops(code):
        products = sum(1 for line in loop if re.search(MULTIPLIES, line))
        spilled = [line for line in loop if re.search(SPILLS[level.architecture], line)]
        if products >= 8:
            multiplying += 1
            assert len(spilled) <= products // 8, "\n".join(loop)
    return multiplying


@pytest.mark.parametrize("machine", sorted({level.architecture for level in LEVELS}))
def test_the_choice_of_a_level_compiles_without_a_warning(tmp_path: Path, machine: str) -> None:
    levels = [level for level in LEVELS if level.architecture == machine]
    (tmp_path / "run.c").write_text(render(graphs()["float32"], levels, 1).entry, encoding="utf-8")
    compiler_for(machine).run([*FLAGS, *STRICT, "-c", "run.c", "-o", "run.o"], tmp_path)


def test_the_c_library_knows_the_features_of_all_levels() -> None:
    header = Path(entry.__file__).with_name("cpu.h").read_text(encoding="utf-8")
    for feature in {feature for level in LEVELS for feature in level.features}:
        assert re.search(rf"found \|= CPU_{feature};|found = CPU_{feature};", header), feature
