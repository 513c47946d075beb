"""One store of artifacts for all tests of the engines: what one test built, another finds."""

from __future__ import annotations

import importlib.util
from functools import cache

import pytest

from grandopt.artifacts.store import Store
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints import reference
from grandopt.compiler.program import Program

LIBRARIES = {"onnxruntime": ("onnxruntime", "onnxscript"), "openvino": ("openvino", "onnxscript")}


def need(engine: str) -> None:
    """Skip the test when a library of the engine is not installed."""
    for library in LIBRARIES.get(engine, ()):
        if importlib.util.find_spec(library) is None:
            pytest.skip(f"skipped: {library} is not installed")


@cache
def agent(name: str) -> Program:
    """The captured program of a reference agent."""
    return capture(reference.load(name, name, 0))


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("engines"))
