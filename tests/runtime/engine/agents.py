"""Agents whose answers say what they were asked."""

from __future__ import annotations

from grandopt.signature import Contract, Signature, TensorSpec
from tests.fakes import FakeExecutor

LINE = Signature((TensorSpec("x", (4,)),), (TensorSpec("y", (4,)),))
PAIR = Signature(
    (TensorSpec("x", (2,)), TensorSpec("n", (), "int64")),
    (TensorSpec("sum", (2,)), TensorSpec("n", (), "int64")),
)


def line(factor: float = 2.0) -> FakeExecutor:
    """x [4] → factor · x."""
    return FakeExecutor(LINE, lambda inputs: (inputs[0] * inputs[0].dtype.type(factor),))


def pair() -> FakeExecutor:
    """x [2], n [] → x + n, n."""
    return FakeExecutor(
        PAIR, lambda inputs: (inputs[0] + inputs[1][:, None].astype("float32"), inputs[1].copy()), Contract()
    )
