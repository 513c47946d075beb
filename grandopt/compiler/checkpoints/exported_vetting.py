"""What an untrusted `.pt2` archive may hold.

`torch.export.load` was not made for files of strangers: it unpickles some members, evaluates the symbolic
sizes and compiles the guards written in `model.json`, and looks operators up by dotted name anywhere below
`torch`. So everything that could name code is held against a short list of what torch itself writes, before
torch reads the archive. Custom operators pass: they must have been registered by the caller.
"""

from __future__ import annotations

import ast
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from grandopt.compiler.checkpoints import torch_file, zip_archive
from grandopt.errors import CheckpointError, UntrustedError

OPERATOR = re.compile(r"torch\.ops\.\w+\.\w+(\.\w+)?|_operator\.\w+|math\.\w+|torch\.(sym_\w+|_sym_\w+)")
"""Names that torch writes for the target of a node. Two parts at least follow "torch.ops", which keeps the
functions of `torch.ops` itself out (`load_library`)."""

FORBIDDEN_OPERATORS = frozenset({"_operator.call", "_operator.methodcaller", "_operator.attrgetter"})

SYMPY_NAMES = """
    Symbol Integer Rational Float Add Mul Pow Max Min Mod Abs floor ceiling Eq Ne Lt Le Gt Ge Equality
    Unequality StrictLessThan LessThan StrictGreaterThan GreaterThan And Or Not true false
    positive integer nonnegative
"""
TORCH_NAMES = """
    FloorDiv CeilDiv CleanDiv ModularIndexing PythonMod Where IntTrueDiv FloatTrueDiv PowByNatural FloatPow
    RoundToInt RoundDecimal TruncToInt TruncToFloat ToFloat FloorToInt CeilToInt LShift RShift Identity
    L min max abs
"""
SIZE_FUNCTIONS = frozenset(SYMPY_NAMES.split()) | frozenset(TORCH_NAMES.split())
"""Names in the symbolic sizes that torch writes, and in its guards."""

SIZE_METHODS = frozenset({"size", "shape", "stride", "storage_offset", "ndim", "dim", "numel"})
SYMBOL = re.compile(r"[a-z]+\d+")

EXPRESSION_NODES = (
    ast.Expression, ast.Call, ast.keyword, ast.Name, ast.Load, ast.Constant, ast.BinOp, ast.UnaryOp,
    ast.BoolOp, ast.Compare, ast.Subscript, ast.Attribute, ast.operator, ast.unaryop, ast.boolop, ast.cmpop,
)  # fmt: skip


def vet(path: Path, names: tuple[str, ...]) -> None:
    """Check the archive at `path` with the members `names` without running anything in it.

    Raises UntrustedError naming the first thing that could run code, CheckpointError for a damaged member.
    """
    for name in names:
        if name.endswith(".pt"):
            torch_file.read_stream(io.BytesIO(zip_archive.read(path, name)), f"{path} ({name})")
        elif name.endswith(".json"):
            _vet_json(path, name)
        elif "opaque_obj" in name or "custom_obj" in name:
            raise _untrusted(path, name, "an object that must be unpickled")


def _vet_json(path: Path, name: str) -> None:
    try:
        document = json.loads(zip_archive.read(path, name))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: member {name!r} is damaged: {error}") from error
    for key, value in _fields(document):
        if key == "use_pickle" and value:
            raise _untrusted(path, name, "a tensor that must be unpickled")
        if key in ("target", "as_operator") and isinstance(value, str):
            if not OPERATOR.fullmatch(value) or value in FORBIDDEN_OPERATORS:
                raise _untrusted(path, name, f"the operator {value!r}, which is none of torch's")
        elif key == "expr_str" and not harmless(value):
            raise _untrusted(path, name, f"the size {value!r}, which is no plain arithmetic")
        elif key == "guards_code":
            for guard in value:
                if not harmless(guard):
                    raise _untrusted(path, name, f"the guard {guard!r}, which is no plain comparison")


def _untrusted(path: Path, name: str, what: str) -> UntrustedError:
    return UntrustedError(
        f"{path}: member {name!r} holds {what}; pass --trust (or `trust: true`) only if you know who made it"
    )


def _fields(document: Any) -> Iterator[tuple[str, Any]]:
    """Every (key, value) of every object inside a JSON document."""
    pending = [document]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            yield from item.items()
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)


def harmless(expression: Any) -> bool:
    """Whether `expression` is arithmetic or a comparison over sizes, and calls nothing else."""
    try:
        tree = ast.parse(expression, mode="eval")
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return False
    return all(_allowed(node) for node in ast.walk(tree))


def _allowed(node: ast.AST) -> bool:
    if not isinstance(node, EXPRESSION_NODES):
        return False
    if isinstance(node, ast.Name):
        return node.id in SIZE_FUNCTIONS or SYMBOL.fullmatch(node.id) is not None
    if isinstance(node, ast.Attribute):
        return node.attr in SIZE_METHODS
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value.isidentifier() and not node.value.startswith("__")
    return True
