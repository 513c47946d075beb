"""What an engine is stands in its class: its name is in four places, and nowhere else."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

import grandopt
from grandopt.config.engine import PRECISIONS
from grandopt.config.engines import ENGINE_CLASSES, ENGINES, EngineName

PACKAGE = Path(grandopt.__file__).parent
MATCHES = ("compiler/build.py", "runtime/loader.py")
"""Where a backend and an executor are chosen by a `match` on the engine's name."""

ALSO = {
    ("native", "compiler/bounds/certificate.py"): "bounds are those of this engine's arithmetic",
    ("native", "workflows/selection/certificate.py"): "bounds are those of this engine's arithmetic",
    ("native", "suites/memory.py"): "the suite builds an agent of its own",
    ("native", "runtime/memory/leaks.py"): "where memory leaks: in Python, or in native code",
    ("native", "workflows/exporting/arm_source.py"): "C is that of this engine",
    ("onnxruntime", "workflows/exporting/onnx/write.py"): "the library that checks ONNX files",
    ("onnxruntime", "config/external_engines.py"): "an external engine of the same name",
    ("eager", "suites/serving/contenders.py"): "a way of serving of the same name, beside the engine",
    ("torchscript", "suites/serving/contenders.py"): "a way of serving of the same name, beside the engine",
    ("torchscript", "compiler/checkpoints/detect.py"): "a format of checkpoints of the same name",
    ("torchscript", "cli/job_file.py"): "a format of checkpoints of the same name",
    ("torchscript", "compiler/checkpoints/torchscript/script.py"): "a format of checkpoints of the same name",
}
"""Other places, each with the reason why another engine would not need it."""


def _named(tree: ast.Module) -> Iterator[str]:
    """The engines that code names, by a string or by their class; text that stands alone documents."""
    classes = {kind.__name__: name for name, kind in ENGINE_CLASSES.items()}
    texts = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in ENGINES and id(node) not in texts:
            yield node.value
        elif isinstance(node, ast.Name) and node.id in classes:
            yield classes[node.id]


@cache
def _places() -> dict[str, set[str]]:
    """The files in which an engine is named."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path in sorted(PACKAGE.rglob("*.py")):
        for name in _named(ast.parse(path.read_text(encoding="utf-8"))):
            found[name].add(path.relative_to(PACKAGE).as_posix())
    return found


def _its_own(name: str, place: str) -> bool:
    """Whether it is the class, the backend's file or folder, an executor's file, or a branch."""
    starts = (f"compiler/backends/{name}", f"runtime/executors/{name}")
    return place in ("config/engines.py", *MATCHES) or place.startswith(starts)


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_is_named_where_it_is_and_nowhere_else(name: str) -> None:
    others = {place for place in _places()[name] if not _its_own(name, place)}
    assert others == {place for engine, place in ALSO if engine == name}


def test_every_engine_has_its_class_and_says_what_it_is() -> None:
    assert tuple(ENGINE_CLASSES) == ENGINES == get_args(EngineName)
    for kind in ENGINE_CLASSES.values():
        variants = kind.variants()
        assert {variant.precision for variant in variants} <= set(PRECISIONS)
        assert all(variant.reason and type(variant.options) is kind for variant in variants)
        assert all(
            variant.options.in_float32() == variant.options
            for variant in variants
            if variant.precision == "float32"
        )


def test_what_an_engine_is_can_be_asked_without_it() -> None:
    code = (
        "import sys, grandopt.config.engines; "
        "sys.exit(bool({'torch', 'onnxruntime', 'openvino'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
