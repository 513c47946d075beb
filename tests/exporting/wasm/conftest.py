"""Agents as WebAssembly in Node, where that and a compiler for it are installed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from grandopt.compiler.backends.native.wasm.toolchain import find_wasm_compiler
from grandopt.compiler.program import Program
from grandopt.errors import EngineUnavailableError
from grandopt.workflows.exporting.node import NodeExecutor
from grandopt.workflows.exporting.wasm import MODULES, write_wasm

Opened = Callable[..., NodeExecutor]


@pytest.fixture(autouse=True)
def _compiler() -> None:
    try:
        find_wasm_compiler()
    except EngineUnavailableError as error:
        pytest.skip(f"skipped: {error}")


@pytest.fixture
def node() -> str:
    """The program."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("skipped: Node is not installed")
    return found


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports ask nothing: the test does."""
    monkeypatch.setattr("grandopt.workflows.exporting.wasm._checked", lambda *given: ())


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where programs lie that were exported before, by their names: `exported` compiles each once."""
    return tmp_path_factory.mktemp("exports")


def exported(program: Program, exports: Path, folder: Path) -> Path:
    """A copy below `folder` of what is exported of a program whose name says what it is."""
    target = folder / program.name
    if not target.exists():
        if not (exports / program.name).exists():
            write_wasm(program, exports / program.name)
        shutil.copytree(exports / program.name, target)
    return target


@pytest.fixture
def opened(node: str, unchecked: None, tmp_path: Path) -> Iterator[Opened]:
    """`opened(program, module)`: one of the modules of a program, in Node."""
    running: list[NodeExecutor] = []

    def make(program: Program, module: str = MODULES[0]) -> NodeExecutor:
        folder = tmp_path / program.name
        if not folder.exists():
            write_wasm(program, folder)
        running.append(NodeExecutor(node, folder, module, program.signature, program.contract))
        return running[-1]

    yield make
    for executor in running:
        executor.close()


@pytest.fixture
def script(node: str, unchecked: None, exports: Path, tmp_path: Path) -> Callable[[Program, str], str]:
    """`script(program, text)`: what a module beside the exported `agent.js`, `load` imported, printed."""

    def run(program: Program, text: str) -> str:
        folder = exported(program, exports, tmp_path)
        (folder / "test.mjs").write_text(
            f'import {{arrayOf, hasSimd, load, observed}} from "./agent.js";\n{text}'
        )
        done = subprocess.run(
            [node, folder / "test.mjs"], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
