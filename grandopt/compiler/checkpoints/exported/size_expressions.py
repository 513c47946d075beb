"""The symbolic sizes and guards in a `.pt2`: arithmetic over whole numbers and names such as s77, or nothing.

torch hands the sizes to sympy, which evaluates them as Python. So what they may consist of is held against a
short grammar, and what they may come to is bounded: sympy computes powers of numbers out.
"""

from __future__ import annotations

import ast
import re
from typing import Any

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
SYMBOL = re.compile(r"[a-z]{1,4}\d{1,4}")
LONGEST = 2000
MOST_NODES = 400
DEEPEST = 40
LARGEST_NUMBER = 1 << 63
LARGEST_EXPONENT = 8
GROWING = frozenset({"Pow", "PowByNatural", "FloatPow", "LShift"})
MOST_POWERS = 3
"""One above the other: 8 ** 3 is by how much a number can then grow."""

EXPRESSION_NODES = (
    ast.Expression, ast.Call, ast.keyword, ast.Name, ast.Load, ast.Constant, ast.BinOp, ast.UnaryOp,
    ast.BoolOp, ast.Compare, ast.Subscript, ast.Attribute, ast.operator, ast.unaryop, ast.boolop, ast.cmpop,
)  # fmt: skip


def harmless(expression: Any) -> bool:
    """Whether `expression` is arithmetic or a comparison over sizes, calls nothing else, and stays small."""
    if not isinstance(expression, str) or len(expression) > LONGEST or not expression.isascii():
        return False
    try:
        tree = ast.parse(expression, mode="eval")
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return False
    nodes = list(ast.walk(tree))
    return len(nodes) <= MOST_NODES and all(map(_allowed, nodes)) and _bounded(tree, DEEPEST, MOST_POWERS)


def _allowed(node: ast.AST) -> bool:
    if not isinstance(node, EXPRESSION_NODES):
        return False
    if isinstance(node, ast.Name):
        return node.id in SIZE_FUNCTIONS or SYMBOL.fullmatch(node.id) is not None
    if isinstance(node, ast.Attribute):
        return node.attr in SIZE_METHODS
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Symbol":
        return len(node.args) == 1 and _is_symbol(node.args[0])
    if isinstance(node, ast.Constant):
        match node.value:
            case str():
                return node.value.isidentifier() and not node.value.startswith("__")
            case bool() | None:
                return True
            case int() | float():
                return abs(node.value) <= LARGEST_NUMBER
        return False
    return True


def _is_symbol(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and SYMBOL.fullmatch(node.value) is not None
    )


def _bounded(node: ast.AST, depth: int, powers: int) -> bool:
    """Whether no branch is too deep, and what grows (powers, shifts) has a small number for its exponent."""
    if depth == 0:
        return False
    exponent = _exponent(node)
    if exponent is not None:
        if powers == 0 or not _is_small(exponent):
            return False
        powers -= 1
    return all(_bounded(child, depth - 1, powers) for child in ast.iter_child_nodes(node))


def _exponent(node: ast.AST) -> ast.AST | None:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow | ast.LShift):
        return node.right
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in GROWING:
        return node.args[1] if len(node.args) == 2 else node
    return None


def _is_small(node: ast.AST) -> bool:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node = node.operand
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Integer":
        return len(node.args) == 1 and _is_small(node.args[0])
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, int | float)
        and abs(node.value) <= LARGEST_EXPONENT
    )
