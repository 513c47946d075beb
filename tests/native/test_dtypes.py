"""Random operations on inputs of every dtype: as torch computes them, or refused with operator and reason."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from grandopt.compiler.backends.native.decompose import decomposed
from grandopt.compiler.backends.native.form import Value
from grandopt.compiler.backends.native.translate import _refusing, _Translation
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.config.engines import NativeOptions
from grandopt.errors import UnsupportedError
from grandopt.signature import Array
from tests.native.conftest import LEVELS, Make
from tests.native.operations import DTYPES, Operation, Operations

BATCHES = (1, 7, 8, 9, 15, 16, 17, 33)
"""Around the sizes of tiles."""
TOGETHER = 8
QUICK, SLOW, ALL = 3, 32, 320


def _seeds() -> list[object]:
    def mark(seed: int) -> list[pytest.MarkDecorator]:
        return [] if seed < QUICK else [pytest.mark.slow if seed < SLOW else pytest.mark.stress]

    return [pytest.param(seed, marks=mark(seed)) for seed in range(ALL)]


@pytest.mark.parametrize("seed", _seeds())
def test_operations_on_any_dtype_are_torchs_or_refused(native: Make, seed: int) -> None:
    random = np.random.default_rng(seed)
    dtype = list(DTYPES)[seed % len(DTYPES)]
    width = int(random.choice([1, 3, 7, 8, 9, 16, 19, 33]))
    choices = DTYPES[dtype]
    drawn = [choices[i] for i in random.choice(len(choices), TOGETHER, replace=False)]
    example = (torch.zeros(2, 3, width, dtype=dtype), torch.ones(2, 3, width, dtype=dtype))
    able = covered(drawn, example)
    if not able:
        return
    module = Operations(able).eval()
    options = NativeOptions(levels=(LEVELS[seed % len(LEVELS)],), tile=(8, 4, 16)[seed % 3])
    executor = native(module, *example, name=f"operations{seed}", options=options)
    for batch in BATCHES:
        inputs = [drawn_inputs(random, dtype, (batch, 3, width), special=batch > 8) for _ in range(2)]
        arrays = [tensor.numpy() for tensor in inputs]
        got = executor.run(arrays)
        executor.run([np.roll(array, 1, 1) for array in arrays])  # leaves other numbers in the scratch memory
        again = executor.run(arrays)
        for place, (first, second) in enumerate(zip(got, again, strict=True)):
            assert first.tobytes() == second.tobytes(), f"output {place} differs from call to call"
        compare(got, module, inputs)
        if batch > 1 and dtype.is_floating_point:
            _other_rows_do_not_matter(executor.run, arrays, got)


class Sieve(_Translation):
    """Goes on after an operator that is refused; what depends on it is refused, too."""

    def __init__(self, exported: torch.export.ExportedProgram) -> None:
        super().__init__(exported)
        self.nodes = exported.graph_module.graph.nodes
        self.refused: set[torch.fx.Node] = set()
        self.reasons: list[str] = []

    def _call(self, node: torch.fx.Node) -> None:
        if self.refused.isdisjoint(node.all_input_nodes):
            try:
                with _refusing(str(node.target)):
                    super()._call(node)
            except UnsupportedError as error:
                self.reasons.append(str(error))
            else:
                return
        self.refused.add(node)

    def _value(self, node: torch.fx.Node) -> Value:
        return Value("refused", (), "float32") if node in self.refused else super()._value(node)


def covered(drawn: list[Operation], example: tuple[torch.Tensor, ...]) -> list[Operation]:
    """Those that torch has for the dtype and of which the native engine refuses nothing."""
    known = [operation for operation in drawn if _runs(operation, example)]
    module = Operations(known).eval()
    exported = capture(from_module("all", module, example), 0).exported
    if exported is None:
        return []
    sieve = Sieve(decomposed("all", exported))
    sieve.graph("all")
    assert all("aten." in reason or "cover" in reason for reason in sieve.reasons), sieve.reasons
    (output,) = (node for node in sieve.nodes if node.op == "output")
    found, outputs = [], iter(output.args[0])
    for operation in known:
        parts = [next(outputs) for _ in range(len(Operations([operation])(*example)))]
        if sieve.refused.isdisjoint(parts):
            found.append(operation)
    return found


def _runs(operation: Operation, example: tuple[torch.Tensor, ...]) -> bool:
    try:
        Operations([operation])(*example)
    except (RuntimeError, TypeError, IndexError):
        return False
    return True


def drawn_inputs(
    random: np.random.Generator, dtype: torch.dtype, shape: tuple[int, ...], *, special: bool
) -> torch.Tensor:
    if not dtype.is_floating_point:
        low, high = (0, 2) if dtype is torch.bool else (0 if dtype is torch.uint8 else -7, 8)
        return torch.from_numpy(random.integers(low, high, shape)).to(dtype)
    values = random.standard_normal(shape) * 2
    if special:  # in every time step of some rows; the first and the last row stay ordinary
        for number in (np.nan, np.inf, -np.inf):
            for step in range(shape[1]):
                values[random.integers(1, shape[0] - 1), step, random.integers(shape[2])] = number
    return torch.from_numpy(values).to(dtype)


def compare(got: tuple[Array, ...], module: Operations, inputs: list[torch.Tensor]) -> None:
    wanted = module(*inputs)
    exact = module(*(t.double() if t.is_floating_point() else t for t in inputs))
    for place, (mine, torchs, truth) in enumerate(zip(got, wanted, exact, strict=True)):
        assert mine.shape == tuple(torchs.shape), f"output {place}"
        assert torch.from_numpy(mine).dtype == torchs.dtype, f"output {place}"
        reference = torchs.numpy()
        if not torchs.is_floating_point():
            np.testing.assert_array_equal(mine, reference, f"output {place}")
            continue
        np.testing.assert_array_equal(np.isnan(mine), np.isnan(reference), f"NaN of output {place}")
        infinite = np.isinf(reference) | np.isinf(mine)
        np.testing.assert_array_equal(mine[infinite], reference[infinite], f"infinities of output {place}")
        finite = np.isfinite(reference) & np.isfinite(truth.numpy())
        right, own = truth.numpy()[finite].astype(np.float64), reference[finite].astype(np.float64)
        floor = 1e-6 if torchs.dtype is torch.float32 else 1e-12
        allowed = 4 * np.abs(own - right).max(initial=0.0) + floor * np.abs(right).max(initial=0.0)
        error = np.abs(mine[finite].astype(np.float64) - right).max(initial=0.0)
        assert error <= allowed + floor, f"output {place}: {error} where {allowed} is allowed"


def _other_rows_do_not_matter(run: object, arrays: list[Array], got: tuple[Array, ...]) -> None:
    """The first row's answer stays the same to the bit whatever the other rows hold."""
    changed = [array.copy() for array in arrays]
    for array in changed:
        array[1:] = np.nan
    for place, (before, after) in enumerate(zip(got, run(changed), strict=True)):  # type: ignore[operator]
        assert before[0].tobytes() == after[0].tobytes(), f"output {place} depends on other rows"
