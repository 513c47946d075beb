"""What an engine cannot take, or cannot do here, is one line that says what to do."""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from grandopt.artifacts.artifact import write
from grandopt.artifacts.machine import cpu_features
from grandopt.artifacts.store import Store
from grandopt.compiler.backends import inductor
from grandopt.compiler.build import Candidate, build
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.compiler.program import Program
from grandopt.config.engines import EngineOptions, InductorOptions, OnnxRuntimeOptions, OpenVinoOptions
from grandopt.errors import ArtifactError, BuildError, EngineUnavailableError, UnsupportedError
from grandopt.runtime import loader
from grandopt.runtime.loader import load
from tests.engines.conftest import need
from tests.small_agents import Branching, Policy, program

ALL: dict[str, EngineOptions] = {
    "inductor": InductorOptions(gemm="library"),
    "onnxruntime": OnnxRuntimeOptions(),
    "openvino": OpenVinoOptions(),
}
WITHOUT_TORCH = ("onnxruntime", "openvino")


class Spectrum(torch.nn.Module):
    """Eigenvalues: an operator that ONNX does not have."""

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        return torch.linalg.eigvalsh(state @ state.transpose(-1, -2))


def _captured(module: torch.nn.Module, *shape: int) -> Program:
    return capture(from_module("agent", module, np.zeros((2, *shape), np.float32)))


@pytest.mark.parametrize("engine", WITHOUT_TORCH)
def test_a_missing_library_is_named_with_its_extra(
    store: Store, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    monkeypatch.setitem(sys.modules, engine, None)  # what an import finds where it is not installed
    monkeypatch.delitem(sys.modules, f"grandopt.runtime.executors.{engine}", raising=False)
    monkeypatch.setattr(Store, "get", lambda self, key: None)
    extra = {"onnxruntime": "onnx", "openvino": "openvino"}[engine]
    with pytest.raises(EngineUnavailableError, match=rf"pip install 'grandopt\[{extra}\]'$") as caught:
        build(program(Policy), Candidate("float32", ALL[engine]), store)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("engine", WITHOUT_TORCH)
def test_an_operator_that_onnx_does_not_have_is_named(store: Store, engine: str) -> None:
    need(engine)
    with pytest.raises(UnsupportedError, match=r"^agent: ONNX has no .* operator aten\._linalg_eigh$"):
        build(_captured(Spectrum(), 3, 3), Candidate("float32", ALL[engine]), store)


@pytest.mark.parametrize("engine", ALL)
def test_what_was_not_exported(store: Store, engine: str) -> None:
    need(engine)
    candidate = Candidate("float32", ALL[engine])
    with pytest.raises(UnsupportedError, match=r"^branching: not exported: .* depends on the data"):
        build(program(Branching), candidate, store)


class TestToolchain:
    """`library` is enough: the compiler is asked long before it matters who multiplies matrices."""

    OPTIONS = InductorOptions(gemm="library")

    def test_no_compiler(self) -> None:
        with (
            torch._inductor.config.patch("cpp.cxx", ("no-such-compiler",)),
            pytest.raises(BuildError, match=r"no C\+\+ compiler: .*no-such-compiler.* set CXX$") as caught,
        ):
            inductor.lower(_captured(torch.nn.Linear(3, 5), 3), self.OPTIONS)
        assert "\n" not in str(caught.value)

    def test_a_compiler_that_fails(self, tmp_path: Path) -> None:
        broken = tmp_path / "g++"
        broken.write_text(
            '#!/bin/sh\ncase "$*" in *--version*|*-dump*) exec g++ "$@";; esac\n'
            'echo "x.cpp:1:1: error: this compiler has run out of patience" >&2\n'
            'echo "x.cpp:2:1: error: and again" >&2\nexit 1\n'
        )
        broken.chmod(0o755)
        with (
            torch._inductor.config.patch("cpp.cxx", (str(broken),)),
            pytest.raises(BuildError, match=r"C\+\+ compiler says: this compiler has run out") as caught,
        ):
            inductor.lower(_captured(torch.nn.Linear(3, 7), 3), self.OPTIONS)
        assert "again" not in str(caught.value)


@pytest.mark.slow
def test_a_library_for_another_processor_is_not_opened(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = build(program(Policy), Candidate("float32", ALL["inductor"]), store)
    needed = artifact.manifest.cpu_features
    assert needed
    assert set(needed) <= cpu_features()
    monkeypatch.setattr(loader, "cpu_features", lambda: frozenset(needed[1:]))
    monkeypatch.setattr(torch._C._aoti, "AOTIModelContainerRunnerCpu", None)  # whoever opens one now fails
    with pytest.raises(ArtifactError, match=f"needs the CPU feature.* {needed[0]}"):
        load(artifact.path)


@pytest.mark.parametrize(
    "engine", [pytest.param(name, marks=[pytest.mark.slow] if name == "inductor" else []) for name in ALL]
)
def test_bytes_that_are_no_payload_are_one_line(store: Store, tmp_path: Path, engine: str) -> None:
    need(engine)
    artifact = build(program(Policy), Candidate("float32", ALL[engine]), store)
    rubbish = dict.fromkeys(artifact.payloads(), b"<net>rubbish")
    broken = write(tmp_path / "broken", artifact.manifest, rubbish)
    with pytest.raises(ArtifactError, match=r"build it again$") as caught:
        load(broken.path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "engine", [pytest.param(name, marks=[pytest.mark.slow] if name == "inductor" else []) for name in ALL]
)
def test_one_changed_byte_is_one_line(store: Store, tmp_path: Path, engine: str) -> None:
    need(engine)
    artifact = build(program(Policy), Candidate("float32", ALL[engine]), store)
    for entry in artifact.manifest.payload:
        copy = tmp_path / entry.name.replace(".", "-")
        shutil.copytree(artifact.path, copy)
        file = copy / artifact.payload_path(entry.name).relative_to(artifact.path)
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
        with pytest.raises(ArtifactError, match=r": damaged: .*build it again$") as caught:
            load(copy)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "engine", [pytest.param(name, marks=[pytest.mark.slow] if name == "inductor" else []) for name in ALL]
)
def test_another_version_or_machine_is_one_line(store: Store, tmp_path: Path, engine: str) -> None:
    need(engine)
    artifact = build(program(Policy), Candidate("float32", ALL[engine]), store)
    (library,) = artifact.manifest.requires
    changes: dict[str, dict[str, Any]] = {
        f"built with {library} 1.2.3, here is": {"requires": {library: "1.2.3"}},
        "built for vax, this machine is": {"machine": "vax"},
        "needs the CPU feature(s) turbo, which": {"cpu_features": ("turbo",)},
    }
    for number, (words, change) in enumerate(changes.items()):
        manifest = replace(artifact.manifest, **change)
        with pytest.raises(ArtifactError, match=re.escape(words)) as caught:
            load(write(tmp_path / str(number), manifest, artifact.payloads()).path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("engine", ALL)
def test_a_build_that_fails_leaves_nothing(tmp_path: Path, engine: str) -> None:
    need(engine)
    store = Store(tmp_path / "store")
    with pytest.raises(UnsupportedError):
        build(program(Branching), Candidate("float32", ALL[engine]), store)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
