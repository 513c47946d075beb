"""Shared memory that batches travel in between a process and its workers."""

from __future__ import annotations

import itertools
import math
import mmap
import os
import weakref
from collections import deque
from collections.abc import Sequence
from functools import partial

import numpy as np

from grandopt.errors import ConfigError
from grandopt.signature import Array, Signature

SIZES = 64
"""Sizes of batches whose arrays are kept."""
ALIGNMENT = 64
"""Bytes: a cache line, and the widest vector that an engine loads."""


class Layout:
    """Where the inputs and outputs of up to `capacity` observations lie in a piece of memory.

    Both sides work it out for themselves, so that a message names a capacity and nothing more.
    """

    def __init__(self, signature: Signature, capacity: int) -> None:
        self.inputs = len(signature.inputs)
        self.parts: list[tuple[int, tuple[int, ...], np.dtype[np.generic]]] = []
        at = 0
        for spec in (*signature.inputs, *signature.outputs):
            dtype = np.dtype(spec.dtype)
            self.parts.append((at, spec.shape, dtype))
            at += -(-capacity * math.prod(spec.shape) * dtype.itemsize // ALIGNMENT) * ALIGNMENT
        self.size = at

    def arrays(self, memory: Array | mmap.mmap, rows: int) -> tuple[list[Array], list[Array]]:
        """The inputs and the outputs of the first `rows` observations, as views of `memory`."""
        views: list[Array] = [
            np.ndarray((rows, *shape), dtype, buffer=memory, offset=at) for at, shape, dtype in self.parts
        ]
        return views[: self.inputs], views[self.inputs :]


class Views:
    """The arrays of batches of the usual sizes in one piece of memory, made once."""

    def __init__(self, layout: Layout, memory: mmap.mmap) -> None:
        self._layout = layout
        self._memory = memory
        self._made: dict[int, tuple[list[Array], list[Array]]] = {}

    def of(self, rows: int) -> tuple[list[Array], list[Array]]:
        """As `Layout.arrays`."""
        views = self._made.get(rows)
        if views is None:
            if len(self._made) >= SIZES:
                self._made.clear()
            views = self._made[rows] = self._layout.arrays(self._memory, rows)
        return views


class Slot:
    """Memory of one batch: a file without a name, which ends with the last process that has it.

    So nothing is left of it anywhere, however its users end.
    """

    def __init__(self, number: int, signature: Signature, capacity: int) -> None:
        self.number = number
        self.capacity = capacity
        self.layout = Layout(signature, capacity)
        self.file = os.memfd_create(f"grandopt-{number}", os.MFD_CLOEXEC)
        os.ftruncate(self.file, self.layout.size)
        self.memory = mmap.mmap(self.file, self.layout.size)
        self.address = address(np.frombuffer(self.memory, np.uint8))
        self._views = Views(self.layout, self.memory)

    def outputs(self, rows: int) -> tuple[Array, ...]:
        """Copies of the outputs, which are the caller's."""
        return tuple([view.copy() for view in self._views.of(rows)[1]])

    def close(self) -> None:
        """Give the file back; the memory goes with the last array that looks at it."""
        os.close(self.file)


class Slots:
    """Lends slots, and takes each back when nothing looks at its arrays any more.

    A lease needs no end of its own: it lasts as long as any array, view or memoryview of it, also of a batch
    that was never computed. Slots are made when there is none free; `spare` free ones are kept. After a batch
    larger than any before, new slots are that large.

    It belongs to one event loop, but arrays may die in any thread.
    """

    def __init__(self, signature: Signature, capacity: int, spare: int) -> None:
        if not signature.outputs:
            raise ConfigError(
                "process workers need to know the agent's outputs, and its signature declares none: declare "
                "them, or use threads"
            )
        self._signature = signature
        self._capacity = _power_of_two(capacity)
        self._spare = spare
        self._numbers = itertools.count()
        self._slots: dict[int, Slot] = {}  # by address
        self._leases: dict[int, weakref.ref[Array]] = {}  # by address
        self._free: deque[Slot] = deque()
        self.numbers: set[int] = set()
        """Of the slots that there are."""

    @property
    def bytes(self) -> int:
        """Of all slots, lent or free."""
        return sum(slot.layout.size for slot in self._slots.values())

    @property
    def lent(self) -> int:
        """How many slots something looks at."""
        return len(self._slots) - len(self._free)

    def lease(self, rows: int) -> list[Array]:
        """Arrays [rows, *shape] for the inputs of a batch, not initialised."""
        slot = self._taken(rows)
        whole = np.ndarray(slot.layout.size, np.uint8, buffer=slot.memory)
        # It is the base of every view of a view, and lives as long as any of them.
        self._leases[slot.address] = weakref.ref(whole, partial(self._returned, slot))
        return slot.layout.arrays(whole, rows)[0]

    def holding(self, inputs: Sequence[Array]) -> tuple[Slot, Sequence[Array]]:
        """The slot that these inputs lie in, and the arrays that keep it lent: of inputs elsewhere a copy."""
        slot = self._slots.get(address(inputs[0]))
        if slot is not None and self._in_place(slot, inputs):
            return slot, inputs
        rows = self.lease(len(inputs[0]))
        for row, given in zip(rows, inputs, strict=True):
            row[...] = given
        return self._slots[address(rows[0])], rows

    def _in_place(self, slot: Slot, inputs: Sequence[Array]) -> bool:
        return len(inputs[0]) <= slot.capacity and all(
            address(array) == slot.address + at and array.flags.c_contiguous and array.dtype == dtype
            for array, (at, _, dtype) in zip(inputs, slot.layout.parts[: len(inputs)], strict=True)
        )

    def _taken(self, rows: int) -> Slot:
        self._capacity = max(self._capacity, _power_of_two(rows))
        while len(self._free) > self._spare:
            self._drop(self._free.popleft())
        while self._free:
            slot = self._free.pop()
            if slot.capacity == self._capacity:
                return slot
            self._drop(slot)  # too small for the batches of now
        slot = Slot(next(self._numbers), self._signature, self._capacity)
        self._slots[slot.address] = slot
        self.numbers.add(slot.number)
        return slot

    def _returned(self, slot: Slot, _: weakref.ref[Array]) -> None:
        # In whichever thread the last array dies; appending is one step for the interpreter.
        if slot.address in self._slots:
            self._free.append(slot)

    def _drop(self, slot: Slot) -> None:
        del self._slots[slot.address]
        self.numbers.discard(slot.number)
        self._leases.pop(slot.address, None)
        slot.close()

    def close(self) -> None:
        """Let go of all slots; arrays that are still looked at stay readable."""
        self._free.clear()
        for slot in list(self._slots.values()):
            self._drop(slot)


def address(array: Array) -> int:
    """Where it begins; several times as fast as by `array.ctypes`."""
    start: int = array.__array_interface__["data"][0]
    return start


def _power_of_two(number: int) -> int:
    return 1 << (max(1, number) - 1).bit_length()
