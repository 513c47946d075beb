"""The real-time contract of an exported library: what was compiled is held against it, breaches are found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from grandopt.artifacts.artifact import Artifact
from grandopt.artifacts.machine import architecture
from grandopt.artifacts.store import Store
from grandopt.cli.app import main
from grandopt.compiler.backends.native.build import render
from grandopt.compiler.backends.native.levels import LEVELS, IsaLevel
from grandopt.compiler.backends.native.passes.pipeline import simplify
from grandopt.compiler.backends.native.passes.quantize import quantize
from grandopt.compiler.backends.native.render.weights import Precision as Stored
from grandopt.compiler.backends.native.toolchain import REALTIME_FLAGS, Compiler, find_compiler
from grandopt.compiler.backends.native.translate import translate
from grandopt.compiler.build import Candidate, build
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.config.engine import Precision
from grandopt.config.engines import NativeOptions
from grandopt.errors import ArtifactError, VerificationError
from grandopt.signature import TensorSpec
from grandopt.workflows.exporting import c_library
from grandopt.workflows.exporting.c_library import REALTIME, export_c
from grandopt.workflows.exporting.realtime.check import check
from grandopt.workflows.exporting.realtime.contract import Contract
from grandopt.workflows.exporting.realtime.counting import Effort, cases
from grandopt.workflows.exporting.realtime.disassembly import Reached, disassembled, reached
from grandopt.workflows.exporting.realtime.elf import undefined
from tests.native.conftest import BEST
from tests.native.networks import Attention, Recurrent
from tests.native.programs import compiler_for
from tests.native.test_realtime import Choices

LITTLE = Effort(inputs=12, steps=1, steps_of_others=1)
STEPS_HERE = pytest.mark.skipif(
    architecture() != "x86_64", reason="instructions are stepped through on x86-64"
)
DISASSEMBLES = pytest.mark.skipif(
    shutil.which("objdump") is None, reason="objdump is not installed (binutils)"
)
REALTIME_BEST = BEST.model_copy(update={"realtime": True})


def _policy() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 3))


def _built(
    folder: Path,
    options: NativeOptions,
    module: nn.Module | None = None,
    precision: Precision = "float32",
    *example: torch.Tensor,
) -> Artifact:
    checkpoint = from_module("agent", (module or _policy()).eval(), example or (torch.zeros(2, 6),))
    return build(capture(checkpoint, 0), Candidate(precision, options), Store(folder / "store"))


def _checked(artifact: Artifact, effort: Effort = LITTLE) -> Contract:
    return check(artifact.manifest, c_library._files(artifact), effort)


@STEPS_HERE
@DISASSEMBLES
def test_a_library_under_the_contract_holds_it(tmp_path: Path) -> None:
    contract = _checked(_built(tmp_path, REALTIME_BEST))
    assert contract.status == "holds", contract.objections
    (counted,) = contract.counted.values()
    assert counted.inputs == 12
    assert counted.instructions > 500
    assert 128 < counted.stack_bytes < 4096
    assert f"{counted.instructions} instructions a call" in contract.comment()


@STEPS_HERE
def test_a_usual_library_of_the_same_agent_does_not(tmp_path: Path) -> None:
    """It skips the weights of zeros: what is found says so, and where."""
    contract = _checked(_built(tmp_path, BEST))
    (found,) = (item for item in contract.checks if item.level is not None)
    assert found.status == "fails"
    assert "went another way than the first" in found.found
    assert contract.status == "fails"
    assert "DOES NOT HOLD" in contract.comment()


def test_a_demanded_contract_that_is_not_claimed_is_refused(tmp_path: Path) -> None:
    artifact = _built(tmp_path, BEST)
    with pytest.raises(ArtifactError, match="not built under the real-time contract; build it with"):
        export_c(artifact.path, tmp_path / "c", realtime=True)
    assert not (tmp_path / "c").exists()
    assert REALTIME not in export_c(artifact.path, tmp_path / "c")
    assert (tmp_path / "c" / "agent.h").read_text().startswith("/* No real-time contract is claimed")


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c_library, "check", lambda manifest, files: check(manifest, files, LITTLE))


@STEPS_HERE
@DISASSEMBLES
@pytest.mark.usefixtures("little")
def test_the_command_writes_what_was_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    artifact, folder = _built(tmp_path, REALTIME_BEST), tmp_path / "c"
    assert main(["export", str(artifact.path), str(folder), "--realtime"]) == 0
    written = json.loads((folder / REALTIME).read_text())
    assert written["status"] == "holds"
    assert "real-time contract: holds" in capsys.readouterr().out
    assert (folder / "agent.h").read_text().startswith("/* Real-time contract, all of it checked.")


@STEPS_HERE
@pytest.mark.usefixtures("little")
def test_what_could_not_be_checked_is_said_and_not_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = _built(tmp_path, REALTIME_BEST)
    monkeypatch.setattr("shutil.which", lambda name, **_: None)
    with pytest.raises(VerificationError, match=r"not checked: no lock .* install binutils"):
        export_c(artifact.path, tmp_path / "c", realtime=True)
    assert REALTIME in export_c(artifact.path, tmp_path / "c")
    assert "of which not all could be checked" in (tmp_path / "c" / "agent.h").read_text()


BREACHES = """
#include <stdlib.h>
static int shared_count;
__attribute__((noinline)) static int counted(void) {{ return __sync_fetch_and_add(&shared_count, 1); }}
__attribute__((noinline)) static float larger(const float *x, float *y) {{
    if (x[0] < x[1]) {{ {writes} }}
    return y[0];
}}
__attribute__((noinline)) static long asks(void) {{ long n = 39; {asks} return n; }}
__attribute__((noinline)) static void *allocates(long n) {{ return malloc((unsigned long)n); }}
float unreached(float x) {{ return x * 2; }}
void agent_run(const float *x, float *y, void **p) {{
    y[1] = larger(x, y), p[0] = allocates(asks() + counted());
}}
"""


def _breaching(folder: Path, compiler: Compiler, asks: str, *flags: str) -> Path:
    writes = "y[0] = 1; y[2] = 3; y[4] = x[5] * x[6]; y[5] = 3; y[6] = 7; y[7] = x[8] / x[9]; y[9] = y[7];"
    (folder / "breaches.c").write_text(BREACHES.format(asks=asks, writes=writes))
    compiler.run(["-O2", *flags, "-fPIC", "-shared", "breaches.c", "-o", "breaches.so"], folder)
    return folder / "breaches.so"


def _all_found(found: Reached) -> None:
    assert found.functions == 5
    assert any("calls malloc" in place for place in found.outside)
    assert any("counted" in place for place in found.locks)
    assert any("asks" in place for place in found.system)
    assert any("larger" in place for place in found.branches)


@STEPS_HERE
@DISASSEMBLES
def test_breaches_are_found_in_the_code(tmp_path: Path) -> None:
    library = _breaching(tmp_path, find_compiler(), '__asm__ volatile("syscall" : "+a"(n) : : "rcx", "r11");')
    functions = disassembled(library, "x86_64")
    assert functions is not None
    _all_found(reached(functions, ["agent_run"], "agent_run"))
    assert "malloc" in undefined(library.read_bytes())


def test_breaches_are_found_in_code_for_arm(tmp_path: Path) -> None:
    if shutil.which("aarch64-linux-gnu-objdump") is None:
        pytest.skip("aarch64-linux-gnu-objdump is not installed (Debian: binutils-aarch64-linux-gnu)")
    compiler = compiler_for("aarch64")
    asks = '__asm__ volatile("svc 0" : "+r"(n));'
    library = _breaching(tmp_path, compiler, asks, "-mno-outline-atomics")
    functions = disassembled(library, "aarch64")
    assert functions is not None
    _all_found(reached(functions, ["agent_run"], "agent_run"))


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"\x7fELF\x02\x01" + bytes(58), b"MZ" + bytes(100)])
def test_a_damaged_library_is_one_clear_line(content: bytes) -> None:
    if content.startswith(b"\x7fELF\x02\x01"):
        content = content[:40] + (10**9).to_bytes(8, "little") + content[48:58] + b"\x40\x00\xff\xff\x00\x00"
    with pytest.raises(ArtifactError, match=r"library is damaged .* build the artifact again"):
        undefined(content)


def test_the_inputs_hold_what_a_branch_could_look_at() -> None:
    specs = [TensorSpec("x", (4,), "float32"), TensorSpec("i", (2,), "int64"), TensorSpec("m", (3,), "bool")]
    drawn = cases(specs, 40)
    assert len(drawn) == 120
    assert drawn == cases(specs, 40)
    floats = torch.frombuffer(bytearray(b"".join(drawn[::3])), dtype=torch.float32).double()
    assert floats.isnan().any()
    assert floats.isinf().any()
    assert (floats == 0).any()
    assert ((floats.abs() > 0) & (floats.abs() < 1.17e-38)).any()
    assert (floats.abs() > 1e38).any()
    assert {len(item) for item in drawn[1::3]} == {16}
    assert set(b"".join(drawn[2::3])) == {0, 1}


AGENTS = {
    "choices": (Choices, (torch.zeros(2, 12), torch.zeros(2, 12, dtype=torch.int64)), "float32"),
    "lstm": (lambda: Recurrent(nn.LSTM, 5, 18, 1, False, last=True), (torch.zeros(2, 2, 5),), "float32"),
    "attention": (lambda: Attention(32, 2, causal=True), (torch.zeros(2, 12, 32),), "float32"),
    "int8": (_policy, (torch.zeros(2, 6),), "int8_dynamic"),
    "bfloat16": (_policy, (torch.zeros(2, 6),), "bfloat16"),
}


@STEPS_HERE
@DISASSEMBLES
@pytest.mark.slow
@pytest.mark.parametrize("name", AGENTS)
def test_agents_hold_it_at_all_levels_of_this_machine(tmp_path: Path, name: str) -> None:
    make, example, precision = AGENTS[name]
    weights = precision.partition("_")[0]
    torch.manual_seed(0)
    options = NativeOptions(realtime=True, weights=weights)
    contract = _checked(_built(tmp_path, options, make(), precision, *example))
    assert not contract.objections
    assert contract.counted


@pytest.mark.slow
@pytest.mark.parametrize("name", AGENTS)
def test_code_for_arm_has_no_branch_on_floats(tmp_path: Path, name: str) -> None:
    """As the compiler for AArch64 makes it; it is disassembled, and not run."""
    if shutil.which("aarch64-linux-gnu-objdump") is None:
        pytest.skip("aarch64-linux-gnu-objdump is not installed (Debian: binutils-aarch64-linux-gnu)")
    level = next(level for level in LEVELS if level.name == "armv8-a")
    found = _of_arm(tmp_path, level, name)
    assert (found.outside, found.locks, found.system, found.branches) == ((), (), (), ())


def _of_arm(folder: Path, level: IsaLevel, name: str) -> Reached:
    make, example, precision = AGENTS[name]
    exported = capture(from_module("agent", make().eval(), example), 0).exported
    assert exported is not None
    graph = simplify(translate("agent", exported))
    graph = quantize(graph) if precision == "int8_dynamic" else graph
    stored: Stored = "bfloat16" if precision == "bfloat16" else "float32"
    source = render(graph, [level], 1, stored, realtime=True)
    (folder / "agent.c").write_text(source.texts[level])
    flags = [*REALTIME_FLAGS, *level.flags, "-shared", "-Wl,-z,now", "-nostdlib"]
    (folder / "weights.c").write_text(f"const unsigned char {source.weights_name}[1] = {{0}};")
    compiler_for("aarch64").run([*flags, "agent.c", "weights.c", "-o", "agent.so"], folder)
    functions = disassembled(folder / "agent.so", "aarch64")
    assert functions is not None
    return reached(functions, list(source.invokes.values()), "")
