"""Stand-ins that implement the real protocols."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from grandopt.runtime.executors.base import Executor
from grandopt.signature import Array, Contract, Signature


class FakeExecutor(Executor):
    """An executor around a plain function of NumPy arrays."""

    def __init__(
        self,
        signature: Signature,
        function: Callable[[Sequence[Array]], tuple[Array, ...]],
        contract: Contract | None = None,
    ) -> None:
        super().__init__(signature, contract)
        self._function = function
        self.calls = 0
        self.closed = False

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        self.calls += 1
        return self._function(inputs)

    def close(self) -> None:
        self.closed = True
