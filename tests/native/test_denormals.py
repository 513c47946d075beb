"""Networks that tell a denormal from zero, verified as in a run: the rule of `verification.denormals`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from grandopt.artifacts.store import Store
from grandopt.compiler.backends.float64 import reference
from grandopt.compiler.build import Candidate, build, original
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.compiler.program import Program
from grandopt.config.profiles import PROFILES
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.loader import load
from grandopt.signature import Array
from grandopt.verification.denormals import flushed
from grandopt.verification.inputs import cases
from grandopt.verification.oracle import Oracle
from grandopt.verification.verify import verify
from tests.native.conftest import BEST
from tests.native.networks import Apply

LIMITS = PROFILES["standard"].limits
NETWORKS: dict[str, Callable[[Tensor], Tensor | tuple[Tensor, ...]]] = {
    "logarithms": lambda x: (torch.log(x), torch.log2(x), torch.log10(x.abs()), torch.log1p(x)),
    "steps": lambda x: (torch.floor(x), torch.ceil(x), torch.floor(x * 1e38 * 100), torch.sign(x)),
    "quotients": lambda x: (x // x.flip(-1), x // 0.3, x % x.flip(-1), x % 0.7, x / x.flip(-1)),
    "largest": lambda x: (*x.max(-1), x.argmin(-1), x.abs().max(-1)[1]),
    "comparisons": lambda x: (x > 0, x != 0, x <= x.flip(-1), torch.where(x > 0, 1.0, -1.0), x.bool()),
    "powers": lambda x: (x.abs() ** 0.3, 1 / x, x.abs().rsqrt(), torch.atan2(x, x.flip(-1)), x * 1e38 * 100),
    "whole numbers": lambda x: (torch.log(x.abs() + 0.0).clamp(-1e3).to(torch.int64), torch.ceil(x).int()),
    "norms": lambda x: (x / x.norm(dim=-1, keepdim=True), x / x.abs().sum(-1, keepdim=True), x + 0.0, x),
}  # fmt: skip


@pytest.fixture(scope="module")
def floor(tmp_path_factory: pytest.TempPathFactory) -> tuple[Program, Oracle, Store]:
    """floor(x), judged once for all who answer for it."""
    return _judged(Apply(torch.floor), tmp_path_factory.mktemp("floor"))


def _judged(module: nn.Module, folder: Path) -> tuple[Program, Oracle, Store]:
    program = capture(from_module("agent", module.eval(), (torch.zeros(2, 5),)), 0)
    store = Store(folder)
    first = load(original(program, store).path, trust=True)
    inputs = cases(program.signature)
    return program, Oracle.prepare(reference(program), first, inputs, program.contract), store


FAST = ("steps", "quotients", "comparisons", "powers")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in NETWORKS]
)
def test_a_network_that_sees_denormals_keeps_the_native_engine(tmp_path: Path, name: str) -> None:
    program, oracle, store = _judged(Apply(NETWORKS[name]), tmp_path)
    executor = load(build(program, Candidate("float32", BEST), store).path)
    verdict = verify(executor, oracle, precision="float32", limits=LIMITS)
    assert verdict.passed, verdict.reason


class Shifted(Executor):
    """The original, which counts denormals as zero where `flushes`, and is `off` where it met one."""

    def __init__(self, inner: Executor, *, flushes: bool, off: float = 0.0, says: bool = True) -> None:
        super().__init__(inner.signature, inner.contract)
        self._inner, self._flushes, self._off = inner, flushes, np.float32(off)
        self.flushes_denormals = says

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        zeros = tuple(flushed(array) for array in inputs)
        met = any(new is not old for new, old in zip(zeros, inputs, strict=True))
        (result,) = self._inner.run(zeros if self._flushes else inputs)
        return (result + self._off if met else result,)


@pytest.mark.parametrize(
    ("flushes", "off", "says", "right"),
    [
        (True, 0.0, True, True),
        (False, 0.0, True, True),
        (True, 0.0, False, False),  # nothing was said of denormals: the original's answer alone is right
        (True, 0.01, True, False),
        (False, 0.01, True, False),
    ],
)
def test_only_the_answers_to_denormals_and_to_zeros_are_right(
    floor: tuple[Program, Oracle, Store], flushes: bool, off: float, says: bool, right: bool
) -> None:
    """floor(x) is -1 for a negative denormal and 0 for zero: nothing else is, and nothing between."""
    program, oracle, store = floor
    inner = load(original(program, store).path, trust=True)
    executor = Shifted(inner, flushes=flushes, off=off, says=says)
    assert verify(executor, oracle, precision="float32", limits=LIMITS).passed == right


def test_numbers_of_the_normal_range_are_never_flushed() -> None:
    tiny = np.finfo(np.float32).tiny
    array = np.array([tiny, -tiny, tiny / 2, -tiny / 2, 0.0, np.nan, np.inf], np.float32)
    result = flushed(array)
    np.testing.assert_array_equal(result, np.array([tiny, -tiny, 0, 0, 0, np.nan, np.inf], np.float32))
    assert np.signbit(result[3])
    assert flushed(array[:2])[0] == tiny
