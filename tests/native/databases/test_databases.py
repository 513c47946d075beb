"""PyTorch's own modules and operators on the native engine: exact, or refused with operator and condition."""

from __future__ import annotations

import re

import pytest

from grandopt.compiler.backends.native.translate import UNFORESEEN_USE

pytest.importorskip(
    "expecttest", reason="torch's databases of modules and operators are made for its own tests"
)

from tests.native.databases.kinds import Database, kinds
from tests.native.databases.run import run, shuffled
from tests.native.databases.table import Table
from tests.native.databases.worker import Job

REFUSAL = re.compile(r"^aten\.\w+\.\w+ (?!in this use).+ is not covered by the native engine$")
"""The operator, then the condition."""
OF_THE_WHOLE = re.compile(
    r"^(\S+ changes a buffer;|(input|output) \S+ .+ is not covered|\S+: (in|out)put '\S+' is )"
)
"""What is refused of a program that is no operator."""
PROCESSES = 2
SOME = {"module": 24, "operator": 36}
"""So many kinds the slow tests look at, the first ones in an order that is the same everywhere."""
OPERATORS = 200


def _held(table: Table, share: float) -> None:
    print(table.text())
    assert table.faults() == []
    for row in table.refusals():
        assert REFUSAL.match(row.reason) or OF_THE_WHOLE.match(row.reason), row
        assert UNFORESEEN_USE not in row.reason, row
    assert table.share() >= share, table.text()


def _table(database: Database, most: int, counted: int | None = None) -> Table:
    return Table(run(Job(database, tuple(shuffled(kinds(database))), most), PROCESSES, counted))


@pytest.mark.slow
@pytest.mark.parametrize("database", ["module", "operator"])
def test_some_kinds_are_exact_or_refused_by_name(database: Database) -> None:
    _held(_table(database, 1, SOME[database]), 0.75)


@pytest.mark.stress
def test_modules_are_exact_or_refused_by_name() -> None:
    """Every kind of torch's module database of which torch itself computes a batch row by row."""
    _held(_table("module", 1), 0.85)


@pytest.mark.stress
def test_operators_are_exact_or_refused_by_name() -> None:
    """The first 200 such kinds of its operator database, in an order that is the same everywhere."""
    _held(_table("operator", 1, OPERATORS), 0.8)


@pytest.mark.stress
@pytest.mark.parametrize("database", ["module", "operator"])
def test_all_samples_are_exact_or_refused_by_name(database: Database) -> None:
    """Every kind and every sample that the worker looks at; the share of exact kinds is told, not held."""
    _held(_table(database, 12), 0.0)
