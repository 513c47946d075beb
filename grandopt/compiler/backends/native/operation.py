"""What the form is made of: values, and operations whose inputs have names.

A kind of operation lists its inputs as class attributes, in order:

    class Linear(Op):
        x = Operand(0)
        weight = Operand(1, constant=True)
        bias = Operand(2, constant=True)
        extras = Operands(3)

`op.weight` is then a Value, `op.extras` all that follow, and `op.role(position)` tells what an input is to
its operation. An input that is missing raises PassError here, and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from grandopt.errors import PassError
from grandopt.signature import Array


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of one sample. `data` is set for constants only."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    data: Array | None = None

    @property
    def elements(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def constant(self) -> Array:
        """The data of what must be a constant; raises PassError where it is computed."""
        if self.data is None:
            raise PassError(f"{self.name} is computed where only a constant can be")
        return self.data


class OperandRole:
    """What inputs from `position` on are to their operation, under the name of the class attribute.

    Those that are `constant` are known when the agent is built: kernels pack them in their own way.
    """

    def __init__(self, position: int, *, constant: bool = False) -> None:
        self.position, self.constant = position, constant
        self.name = ""

    def __set_name__(self, kind: type[Op], name: str) -> None:
        self.name = name


class Operand(OperandRole):
    """One input, which every operation of the kind has."""

    def __get__(self, op: Op, kind: type[Op]) -> Value:
        if self.position >= len(op.inputs):
            made = ", ".join(value.name for value in op.outputs)
            raise PassError(f"{kind.__name__} {made} lacks its operand {self.name!r}")
        return op.inputs[self.position]


class Operands(OperandRole):
    """All inputs from a position on, which may be none."""

    def __get__(self, op: Op, kind: type[Op]) -> tuple[Value, ...]:
        return op.inputs[self.position :]


@dataclass(frozen=True, eq=False)
class Op:
    """Base of all ops; fields beyond `inputs` and `outputs` are attributes."""

    roles: ClassVar[tuple[OperandRole, ...]] = ()

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]

    def __init_subclass__(cls) -> None:
        own = (attribute for attribute in vars(cls).values() if isinstance(attribute, OperandRole))
        cls.roles = (*cls.roles, *own)

    @property
    def output(self) -> Value:
        """The only output."""
        (value,) = self.outputs
        return value

    def role(self, position: int) -> OperandRole:
        """What the input at a position is."""
        return next(role for role in reversed(self.roles) if role.position <= position)
