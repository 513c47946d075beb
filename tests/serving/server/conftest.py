"""A folder with an artifact that `grandopt serve` can serve."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build
from grandopt.config.engines import NativeOptions
from tests.small_agents import Policy, program


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`policy`, one input [8] and one output [3], as a native artifact."""
    place = tmp_path_factory.mktemp("served")
    built = build(program(Policy), Candidate("float32", NativeOptions()), Store(place / "store"))
    folder = place / "artifacts"
    shutil.copytree(built.path, folder / "policy")
    return folder
