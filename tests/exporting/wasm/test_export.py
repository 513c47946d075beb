"""`grandopt export --to wasm`: what is written is checked first, and nothing is written that fails."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from grandopt.cli.app import main
from grandopt.compiler.backends.native.wasm import toolchain
from grandopt.compiler.backends.native.wasm.module import compile_modules
from grandopt.compiler.backends.native.wasm.toolchain import find_wasm_compiler
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.errors import (
    ArtifactError,
    EngineUnavailableError,
    OutputError,
    UnsupportedError,
    VerificationError,
)
from grandopt.signature import Contract, StateTensor
from grandopt.workflows.exporting import wasm
from grandopt.workflows.exporting.wasm import MODULES, export_wasm, write_wasm
from tests.cli.conftest import Grandopt, environ, grandopt  # noqa: F401 - fixtures
from tests.exporting.test_carried import shipped
from tests.recurrent.networks import GruCellPolicy
from tests.recurrent.networks import program as recurrent
from tests.small_agents import Branching, Policy, program

FILES = {*MODULES, "agent.js", "agent.d.ts", "example.html", "example.mjs", "package.json"}


@pytest.mark.slow
def test_the_command_writes_what_it_checked(node: str, grandopt: Grandopt, tmp_path: Path) -> None:  # noqa: F811
    artifact = shipped(tmp_path, program(Policy)).path
    done = grandopt("export", artifact, "out", "--to", "wasm")
    assert (done.returncode, done.stderr) == (0, "")
    first, *checks = done.stdout.splitlines()
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    size = (tmp_path / "out" / "agent.wasm").stat().st_size
    assert f"agent.wasm {size / 1000:.3g} kB" in first
    for line, name in zip(checks, MODULES, strict=True):
        assert line.startswith(f"{name} in Node: ")
        assert "calls" in line


@pytest.mark.slow
def test_a_state_is_stepped_through_episodes(node: str, tmp_path: Path) -> None:
    (line, other) = write_wasm(recurrent(GruCellPolicy), tmp_path / "out").checks
    assert " steps, " in line
    assert " steps, " in other


class Looked(nn.Module):
    """A table of ten rows: drawn numbers are no rows of it."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 4)

    def forward(self, token: torch.Tensor) -> torch.Tensor:
        return self.table(token).sum(1)


def test_recorded_observations_are_asked_where_none_can_be_drawn(
    node: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    of = capture(from_module("looked", Looked().eval(), (torch.zeros(2, 3, dtype=torch.int64),)), 0)
    artifact = shipped(tmp_path, of).path
    command = ["export", str(artifact), str(tmp_path / "out"), "--to", "wasm"]
    assert main(command) == 1
    assert "or give recorded samples" in capsys.readouterr().err
    name = of.signature.inputs[0].name
    np.savez(tmp_path / "samples.npz", **{name: np.random.default_rng(0).integers(0, 10, (64, 3))})
    assert main([*command, "--samples", str(tmp_path / "samples.npz")]) == 0
    assert "agent.wasm in Node: " in capsys.readouterr().out


def test_a_wrong_answer_is_not_written(node: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One bit of one weight."""
    right = compile_modules(program(Policy))
    start = right.simd.index(right.source.weights[:64]) + 3
    wrong = right.simd[:start] + bytes([right.simd[start] ^ 1]) + right.simd[start + 1 :]
    monkeypatch.setattr(wasm, "compile_modules", lambda of: replace(right, simd=wrong))
    with pytest.raises(VerificationError, match=r"agent\.wasm in Node is not the same agent"):
        write_wasm(program(Policy), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_node_it_says_that_nothing_was_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None if name == "node" else f"/usr/bin/{name}")
    written = write_wasm(program(Policy), tmp_path / "out")
    assert written.checks == ("not run: Node is not installed (there is no program `node`)",)
    assert set(written.sizes) == FILES


def test_without_a_compiler_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EngineUnavailableError, match="install clang and lld, or `pip install ziglang`"):
        find_wasm_compiler()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr(toolchain, "probe", lambda command: command)
    assert find_wasm_compiler().target == ("-target", "wasm32-freestanding")


def test_what_cannot_be_exported_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is not empty"):
        export_wasm(shipped(tmp_path, program(Policy)).path, tmp_path)
    with pytest.raises(ArtifactError):
        export_wasm(tmp_path / "none", tmp_path / "out")
    with pytest.raises(UnsupportedError):
        compile_modules(program(Branching))
    infinite = Contract(state=(StateTensor("h", "h_next", float("inf")),))
    with pytest.raises(UnsupportedError, match="NaN or infinity"):
        compile_modules(recurrent(GruCellPolicy).but(contract=infinite))


class Best(nn.Module):
    """Sorts, which branches on numbers."""

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        return scores.topk(2).values


def test_no_branch_depends_on_numbers_where_that_can_be() -> None:
    assert compile_modules(program(Policy)).source.realtime
    best = capture(from_module("best", Best(), (torch.zeros(2, 5),)), 0)
    assert not compile_modules(best).source.realtime
