"""Room for the recurrent states of many streams."""

from __future__ import annotations

import numpy as np

from grandopt.runtime.executors.session import initial_state
from grandopt.signature import Array, Contract, Signature

BLOCK_BYTES = 1 << 20
MOST_ROWS = 256
"""Of a block; one of large states has fewer, so that it takes about BLOCK_BYTES."""

State = tuple[Array, ...]
"""One array [*shape] per state tensor, which lie in a block."""


class StatePool:
    """Lends states: rows of arrays [rows, *shape], one array per state tensor of the agent.

    Such a block never moves, so that a state's arrays stay the same while it is lent; memory is taken by the
    block, and used again. Thread safety: none, it belongs to one event loop.
    """

    def __init__(self, signature: Signature, contract: Contract) -> None:
        inputs = {spec.name: spec for spec in signature.inputs}
        self._initial = [initial_state(tensor, inputs[tensor.input], 1)[0, ...] for tensor in contract.state]
        self.row_bytes = sum(array.nbytes for array in self._initial)
        self._rows = max(1, min(MOST_ROWS, BLOCK_BYTES // self.row_bytes))
        self._free: list[State] = []
        self._blocks = 0

    @property
    def nbytes(self) -> int:
        """What the blocks take."""
        return self._blocks * self._rows * self.row_bytes

    @property
    def lent(self) -> int:
        """How many states are lent."""
        return self._blocks * self._rows - len(self._free)

    def take(self) -> State:
        """A state, as it is before the first call."""
        if not self._free:
            block = [np.empty((self._rows, *array.shape), array.dtype) for array in self._initial]
            self._free = [tuple([array[row, ...] for array in block]) for row in reversed(range(self._rows))]
            self._blocks += 1
        state = self._free.pop()
        self.begin(state)
        return state

    def begin(self, state: State) -> None:
        """Set a lent state to what it is before the first call."""
        for array, initial in zip(state, self._initial, strict=True):
            array[...] = initial

    def give_back(self, state: State) -> None:
        """Take a state back; nobody else may hold its arrays."""
        self._free.append(state)
