"""The kinds of both databases, and the networks that each gives."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import torch
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.common_modules import module_db

from tests.native.databases.function import FAILURES, Call, Found, find

Database = Literal["module", "operator"]
MOST_ELEMENTS = 20_000
"""Samples of more elements are left out: they show nothing that a smaller one does not, and take minutes."""


@dataclass(frozen=True)
class Sample:
    """One sample of a kind: as a network, or the reason why it is none."""

    number: int
    network: Found | str


@cache
def _modules() -> dict[str, Any]:
    return {info.name.removeprefix("nn."): info for info in module_db}


@cache
def _operators() -> dict[str, Any]:
    return {info.full_name: info for info in op_db}


def kinds(database: Database) -> list[str]:
    """The names of all kinds, in alphabetical order."""
    return sorted(_modules() if database == "module" else _operators())


def samples(database: Database, kind: str) -> Iterator[Sample]:
    """The database's own float32 samples of a kind, in its order."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of deprecated operators, which are in the database too
        given = _of_module(kind) if database == "module" else _of_operator(kind)
        number = 0
        while True:
            try:
                call = next(given, None)
            except (*FAILURES, ImportError) as error:
                yield Sample(number, f"the database cannot make its samples: {error}")
                return
            if call is None:
                return
            function, arguments = call
            yield Sample(number, _network(function, arguments, mapped=database == "operator"))
            number += 1


def _network(function: Any, arguments: Call, *, mapped: bool) -> Found | str:
    size = sum(arguments.leaves[place].numel() for place in arguments.tensors)
    if size > MOST_ELEMENTS:
        return f"{size} elements are more than {MOST_ELEMENTS}"
    return find(function, arguments, mapped=mapped)


def _of_module(kind: str) -> Iterator[tuple[Any, Call]]:
    info = _modules()[kind]
    for given in info.module_inputs_func(
        info, device="cpu", dtype=torch.float32, requires_grad=False, training=False
    ):
        made, called = given.constructor_input, given.forward_input
        if called is None:
            continue
        module = info.module_cls(*made.args, **made.kwargs).eval()
        if kind.startswith("Lazy"):
            module(*called.args, **called.kwargs)  # now it has its weights
        yield module.requires_grad_(False), Call(called.args, called.kwargs)


def _of_operator(kind: str) -> Iterator[tuple[Any, Call]]:
    info = _operators()[kind]
    if torch.float32 not in info.dtypes:
        return
    for sample in info.sample_inputs("cpu", torch.float32, requires_grad=False):
        yield info.op, Call((sample.input, *sample.args), dict(sample.kwargs))
