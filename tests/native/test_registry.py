"""Files of translators are imported where they are registered; the contract of backends names them all."""

from __future__ import annotations

import tomllib
from pathlib import Path

from grandopt.compiler import backends
from grandopt.compiler.backends.native import operators, translate

ROOT = Path(__file__).parents[2]


def test_every_file_of_translators_is_imported() -> None:
    files = {path.stem for path in Path(operators.__file__).parent.glob("*.py")} - {"__init__", "registry"}
    assert files
    assert files <= vars(translate).keys()


def test_backends_that_do_not_know_each_other_are_all_backends() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (contract,) = (item for item in contracts if item["name"] == "Backends do not know each other")
    listed = {name.rpartition(".")[2] for name in contract["modules"]}
    folder = Path(backends.__file__).parent
    shared = {
        "__init__", "base", "calling", "float64", "litert_file", "onnx_graph", "onnx_quantization",
        "onnx_recurrent",
    }  # fmt: skip
    assert listed == {path.stem for path in folder.glob("*.py")} - shared | {"native"}
