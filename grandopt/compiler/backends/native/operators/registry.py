"""Which function translates which ATen operator.

A translator takes the builder and the operator's arguments, tensors as values, sizes as the numbers of
one sample, and returns what the operator returns, as values. The shape and dtype that ATen gave the result
are in `context.shape` and `context.dtype`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from grandopt.compiler.backends.native.builder import Builder
from grandopt.compiler.backends.native.form import Value

Result = Value | tuple[Value | None, ...]


class ConditionError(Exception):
    """What of an operator's use is not covered, as it follows the operator's name: "with ceil_mode=True".

    The only way in which a translator refuses. `translate` makes the UnsupportedError of it, which names the
    operator; so no refusal can be without one.
    """


@dataclass(frozen=True)
class Context:
    """What a translator may use: the builder, and ATen's own result (of the first result, if several)."""

    build: Builder
    operator: str
    shape: tuple[int, ...]
    dtype: str
    compute_dtype: str
    """The dtype in which ATen computes an element-wise operator on these arguments."""
    returned: frozenset[int] = frozenset()
    """Of an operator with several results: the numbers of those that the program returns as they are."""


Translator = Callable[..., Result]
AnyTranslator = TypeVar("AnyTranslator", bound=Translator)

TRANSLATORS: dict[str, Translator] = {}


def aten(*names: str) -> Callable[[AnyTranslator], AnyTranslator]:
    """Register a translator under operator names such as "add.Tensor"."""

    def register(translate: AnyTranslator) -> AnyTranslator:
        for name in names:
            TRANSLATORS[name] = translate
        return translate

    return register


def as_list(value: Any, length: int) -> list[int]:
    """A size argument that may be one number, repeated `length` times."""
    items = [value] if isinstance(value, int) else list(value)
    return [int(n) for n in (items * length if len(items) == 1 else items)]
