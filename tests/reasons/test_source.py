"""No code of the package reads the words of a reason: it looks at the code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "grandopt"
WORDS = frozenset({"reason", "refusal"})
CUTTING = frozenset(
    (
        *("startswith", "endswith", "split", "rsplit", "splitlines", "partition", "rpartition"),
        *("removeprefix", "removesuffix", "find", "rfind", "index", "rindex", "count", "replace"),
    )
)
MATCHING = frozenset(("search", "match", "fullmatch", "findall", "finditer", "sub", "subn", "split"))


def is_words(node: ast.expr) -> bool:
    """Whether an expression is the words of a reason: `x.reason`, `reason.text`, `x["reason"]`, and so on."""
    match node:
        case ast.Name(id=name):
            return name in WORDS
        case ast.Attribute(value=value, attr="text"):
            return is_words(value)
        case ast.Attribute(attr=name):
            return name in WORDS
        case ast.Subscript(slice=ast.Constant(value=str(name))):
            return name in WORDS
        case ast.BoolOp(values=values):
            return any(is_words(value) for value in values)
        case ast.Call(func=ast.Name(id="str"), args=[value]):
            return is_words(value)
        case ast.Call(func=ast.Attribute(value=value, attr="get" | "lower" | "strip"), args=args):
            return is_words(value) or any(
                isinstance(arg, ast.Constant) and arg.value in WORDS for arg in args
            )
        case _:
            return False


def readings(tree: ast.AST) -> Iterator[int]:
    """The lines in which the words of a reason are searched, cut or compared with others."""
    for node in ast.walk(tree):
        match node:
            case ast.Compare(ops=ops, comparators=others):
                held = (isinstance(op, ast.In | ast.NotIn) for op in ops)
                searched = any(search and is_words(other) for search, other in zip(held, others, strict=True))
                sides = [node.left, *others]
                said = any(isinstance(side, ast.Constant) and " " in str(side.value) for side in sides)
                if searched or (said and any(is_words(side) for side in sides)):
                    yield node.lineno
            case ast.Call(func=ast.Attribute(value=value, attr=name)) if name in CUTTING and is_words(value):
                yield node.lineno
            case ast.Call(func=ast.Attribute(attr=name), args=args) if name in MATCHING:
                if any(is_words(arg) for arg in args):
                    yield node.lineno
            case ast.Subscript(value=value, slice=ast.Slice()) if is_words(value):
                yield node.lineno


@pytest.mark.parametrize(
    "line",
    [
        '"time budget" in (row.reason or "")',
        '"--samples" not in refusal.reason.text',
        "built.reason.startswith('not exported')",
        "status, _, rest = (trial.reason or 'failed').partition(': ')",
        "INSTALL.search(reason)",
        "shlex.split(row.reason)",
        "re.match(PATTERN, str(reason))",
        "trial['reason'].split(': ')",
        "data.get('reason').lower().find('x')",
        "reason[:20]",
        "reason == 'the time budget was used up'",
    ],
)
def test_reading_the_words_is_found(line: str) -> None:
    assert list(readings(ast.parse(line))) == [1]


@pytest.mark.parametrize(
    "line",
    [
        "row.reason_code in IN_TIME",
        "reason.code is ReasonCode.UNDECIDED",
        "f'{built.status}: {built.reason}'",
        "reason in ('inputs', 'outputs')",
        "found.setdefault(row.reason, [])",
        "shlex.split(row.remedy)",
        "replace(reason, text=words)",
    ],
)
def test_deciding_by_the_code_is_not(line: str) -> None:
    assert list(readings(ast.parse(line))) == []


def test_no_code_reads_the_words_of_a_reason() -> None:
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 400
    found = [
        f"{file.relative_to(PACKAGE)}:{line}"
        for file in files
        for line in readings(ast.parse(file.read_text(encoding="utf-8")))
    ]
    assert found == []
