"""One call of an operator, as its translation sees it, and the table of translations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias

import numpy as np
import torch

from grandopt.compiler.checkpoints.onnx.document import Node
from grandopt.errors import CheckpointError
from grandopt.signature import Array

Size: TypeAlias = "int | torch.SymInt"


class OperatorError(CheckpointError):
    """An operator of a file that is not computed here, or not in this form; the message names it."""


class NotConstantError(OperatorError):
    """An operand that depends on the observation where it may not; `name` is its name in the graph."""

    def __init__(self, message: str, name: str) -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True)
class Value:
    """A tensor of the graph, its numbers where these are known while the graph is followed, or both.

    Known are constants, and what is computed from sizes; among these there may be symbols.
    """

    held: torch.Tensor | None = None
    known: Array | None = None

    @classmethod
    def of(cls, constant: torch.Tensor) -> Value:
        """A constant."""
        return cls(constant, (constant.float() if constant.dtype == torch.bfloat16 else constant).numpy())

    @property
    def number(self) -> Any:
        """The one number in it, which is known."""
        assert self.known is not None
        number = self.known.ravel()[0]
        return number if isinstance(number, torch.SymInt | int | float) else number.item()

    @property
    def tensor(self) -> torch.Tensor:
        """The tensor."""
        if self.held is not None:
            return self.held
        assert self.known is not None
        if self.known.dtype != object:
            return torch.from_numpy(self.known)
        numbers = [_scalar(number) for number in self.known.ravel()]
        return (torch.stack(numbers) if numbers else torch.empty(0, dtype=torch.int64)).reshape(
            self.known.shape
        )


def is_symbol(size: Any) -> bool:
    """Whether a size is a symbol, such as that of the batch, and no number."""
    return isinstance(size, torch.SymInt)


def _scalar(number: Size) -> torch.Tensor:
    return torch.full((), number, dtype=torch.int64)  # type: ignore[arg-type]


def sizes(numbers: Sequence[Size]) -> Value:
    """A value of whole numbers, some of which may be symbols."""
    known = np.empty(len(numbers), object)
    known[:] = list(numbers)
    return Value(known=settled(known))


def settled(known: Array) -> Array:
    """The same numbers as plain ones, if there is no symbol among them."""
    if known.dtype == object and not any(isinstance(number, torch.SymInt) for number in known.ravel()):
        return known.astype(np.int64)
    return known


@dataclass(frozen=True)
class Call:
    """A node with its operands. `opset` is the file's; `batch` is the batch that the file has built in, while
    it is being freed (else None); `prepared` are the constants that were made of its operands beforehand."""

    node: Node
    operands: tuple[Value | None, ...]
    opset: int
    batch: int | None = None
    unrolled: bool = False
    prepared: tuple[torch.Tensor, ...] = field(default=())

    def refuse(self, reason: str) -> NoReturn:
        """Raise OperatorError that names the node."""
        raise OperatorError(f"operator {self.node.label}: {reason}")

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The node's attributes."""
        return self.node.attributes

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute of the kind that its default has; raises OperatorError for one of another kind."""
        value = self.node.attributes.get(name)
        if value is None:
            return default
        if isinstance(default, float) and isinstance(value, int | float):
            return float(value)
        if default is not None and not isinstance(value, type(default)):
            self.refuse(f"attribute {name!r} is a {type(value).__name__}")
        return value

    def has(self, place: int) -> bool:
        """Whether there is an operand at this place."""
        return place < len(self.operands) and self.operands[place] is not None

    def value(self, place: int) -> Value:
        """The operand at this place; raises OperatorError without one."""
        found = self.operands[place] if place < len(self.operands) else None
        if found is None:
            self.refuse(f"input {place} is missing")
        return found

    def tensor(self, place: int) -> torch.Tensor:
        """The operand at this place as a tensor."""
        return self.value(place).tensor

    def optional(self, place: int) -> torch.Tensor | None:
        """The operand at this place as a tensor, if there is one."""
        return self.tensor(place) if self.has(place) else None

    def tensors(self) -> list[torch.Tensor]:
        """All operands as tensors."""
        return [self.tensor(place) for place in range(len(self.operands))]

    def known(self, place: int) -> Array:
        """The numbers of the operand at this place, which must not depend on the observation."""
        found = self.value(place).known
        if found is None:
            name = self.node.inputs[place]
            raise NotConstantError(
                f"operator {self.node.label}: input {place} ({name}) depends on the observation; it must be "
                f"constant",
                name,
            )
        return found

    def number(self, place: int) -> Any:
        """The one number of the operand at this place, which must not depend on the observation."""
        if self.known(place).size < 1:
            self.refuse(f"input {place} is empty")
        return self.value(place).number

    def sizes(self, place: int) -> list[Any]:
        """The numbers of the operand at this place as a list of whole numbers or symbols."""
        return [
            number if isinstance(number, torch.SymInt) else int(number)
            for number in self.known(place).ravel()
        ]

    def whole(self, name: str, place: int) -> list[Any] | None:
        """Whole numbers that older files give as an attribute, and newer ones as an operand."""
        if self.has(place):
            return self.sizes(place)
        found = self.node.attributes.get(name)
        return found if found is None or isinstance(found, list) else [found]

    def wanted(self, place: int) -> bool:
        """Whether somebody takes the output at this place."""
        return place < len(self.node.outputs) and bool(self.node.outputs[place])


Result: TypeAlias = "torch.Tensor | Value | tuple[torch.Tensor | Value, ...]"
Translation: TypeAlias = Callable[[Call], Result]
TABLE: dict[str, Translation] = {}
"""The translations by operator; `operators.table` fills it."""


def operator(*names: str) -> Callable[[Translation], Translation]:
    """Enter a function into the table under these names."""

    def enter(function: Translation) -> Translation:
        for name in names:
            TABLE[name] = function
        return function

    return enter


def axis_of(call: Call, axis: int, rank: int) -> int:
    """The axis counted from the front; raises OperatorError where there is none."""
    if not -rank <= axis < max(rank, 1):
        call.refuse(f"axis {axis} of a tensor of {rank} dimension(s)")
    return axis % rank if rank else 0
