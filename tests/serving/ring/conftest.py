"""Native agents behind rings, and a client in C."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from grandopt.artifacts.machine import architecture, cpu_features
from grandopt.artifacts.store import Store
from grandopt.compiler.backends.native.levels import levels_for
from grandopt.compiler.build import Candidate, build
from grandopt.config.engines import NativeOptions
from grandopt.serving.ring.header import folder
from grandopt.serving.ring.options import RingOptions
from tests.serving.ring.serving import Serving
from tests.small_agents import Pair, Policy, program

FLAGS = ("-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O1")


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Native artifacts of small agents: one input and one output, and two inputs and three outputs."""
    store = Store(tmp_path_factory.mktemp("store"))
    level = next(each.name for each in levels_for(architecture()) if cpu_features().issuperset(each.features))
    candidate = Candidate("float32", NativeOptions(levels=(level,)))
    return {
        "policy": build(program(Policy), candidate, store).path,
        "pair": build(program(Pair), candidate, store).path,
    }


@pytest.fixture(scope="session")
def c_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of client.c."""
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler")
    made = tmp_path_factory.mktemp("client") / "client"
    source = Path(__file__).with_name("client.c")
    subprocess.run([compiler, "-std=c11", *FLAGS, f"-I{folder()}", source, "-o", made], check=True)
    return made


@pytest.fixture
def own(artifacts: dict[str, Path], tmp_path: Path) -> Iterator[Serving]:
    """A server that a test may stop or change, with two rings at most."""
    with Serving(tmp_path / "ring", RingOptions(rings=2)) as made:
        made.load("policy", artifacts["policy"])
        yield made


@pytest.fixture(scope="module")
def serving(artifacts: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """An engine with both agents, and rings at `serving.path`."""
    with Serving(tmp_path_factory.mktemp("serving") / "ring") as made:
        for name, path in artifacts.items():
            made.load(name, path)
        yield made
