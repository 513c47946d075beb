"""Shared memory of batches: no slot is lent twice, and each comes back."""

from __future__ import annotations

import mmap
import os
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from grandopt.runtime.scheduling.workers.slots import ALIGNMENT, Layout, Slots
from grandopt.signature import DTYPES, Array, Signature, TensorSpec

SIGNATURE = Signature((TensorSpec("a", (3,)), TensorSpec("b", (), "int8")), (TensorSpec("c", (2,)),))
SPARE = 2

tensors = st.lists(
    st.tuples(st.lists(st.integers(1, 5), max_size=3), st.sampled_from(sorted(DTYPES))),
    min_size=1,
    max_size=3,
)


@given(tensors, tensors, st.integers(1, 9), st.data())
def test_no_array_of_a_layout_touches_another(inputs: Any, outputs: Any, capacity: int, data: Any) -> None:
    specs = [[TensorSpec(str(at), tuple(shape), dtype) for at, (shape, dtype) in enumerate(given)]
             for given in (inputs, outputs)]  # fmt: skip
    layout = Layout(Signature(*map(tuple, specs)), capacity)
    rows = data.draw(st.integers(1, capacity))
    with mmap.mmap(-1, layout.size) as memory:
        groups = layout.arrays(memory, rows)
        arrays = [array for group in groups for array in group]
        assert [len(group) for group in groups] == [len(inputs), len(outputs)]
        for array, spec in zip(arrays, specs[0] + specs[1], strict=True):
            assert (array.shape, array.dtype) == ((rows, *spec.shape), np.dtype(spec.dtype))
            assert array.flags.c_contiguous
            assert array.ctypes.data % ALIGNMENT == 0
        for value, array in enumerate(arrays):
            array.view(np.uint8)[...] = value + 1
        for value, array in enumerate(arrays):
            assert (array.view(np.uint8) == value + 1).all()
        del arrays, array, groups


class Lending(RuleBasedStateMachine):
    """Leases of any size, kept as a view of a view, and dropped in any order."""

    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        self.slots = Slots(SIGNATURE, 4, SPARE)
        self.out: dict[int, Array] = {}
        self.number = 0

    @rule(target=held, rows=st.integers(1, 40), part=st.integers(0, 1))
    def lend(self, rows: int, part: int) -> int:
        arrays = self.slots.lease(rows)
        assert [array.shape for array in arrays] == [(rows, 3), (rows,)]
        self.number += 1
        arrays[part][...] = self.number % 127
        self.out[self.number] = arrays[part].reshape(rows, -1)[:, :1].T
        return self.number

    @rule(number=consumes(held))
    def drop(self, number: int) -> None:
        assert (self.out.pop(number) == number % 127).all()

    @rule(number=held)
    def look(self, number: int) -> None:
        assert (self.out[number] == number % 127).all()

    @invariant()
    def is_counted(self) -> None:
        assert self.slots.lent == len(self.out)
        files = len(os.listdir("/proc/self/fd")) - self.files  # noqa: PTH208
        assert files == 2 * len(self.slots.numbers)  # a mapping has its own

    def teardown(self) -> None:
        self.slots.close()
        for number, view in self.out.items():
            assert (view == number % 127).all()  # stays readable
            del view
        self.out.clear()
        assert len(os.listdir("/proc/self/fd")) == self.files  # noqa: PTH208


TestLending = Lending.TestCase
TestLending.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)


def test_arrays_of_others_are_copied_and_those_of_a_lease_are_not() -> None:
    slots = Slots(SIGNATURE, 4, SPARE)
    lent = slots.lease(4)
    slot, held = slots.holding([array[:3] for array in lent])
    assert slots.lent == 1
    for inputs in ([lent[0][1:], lent[1][1:]], [lent[0], np.zeros(4, np.int8)], [lent[0], lent[1][::2]]):
        rows = min(map(len, inputs))
        given = [array[:rows] for array in inputs]
        other, held = slots.holding(given)
        assert other is not slot
        assert all((array == right).all() for array, right in zip(held, given, strict=True))
    slots.close()
