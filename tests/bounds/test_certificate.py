"""What a certificate says, and what it says where nothing is proven."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from grandopt.compiler.bounds.certificate import certify
from grandopt.compiler.bounds.enclosure import SLACK, Enclosure, added, exactly, multiplied, transformed
from grandopt.compiler.bounds.functions import FUNCTIONS
from grandopt.compiler.bounds.rows import normalised, softmax
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.compiler.program import Program
from grandopt.config.engines import NativeOptions
from grandopt.reporting.certificate import CertifiedReport, certified_words
from grandopt.signature import Array, Contract
from tests.bounds.networks import drawn, observations

INT8 = NativeOptions(weights="int8")


def captured(network: nn.Module, *example: torch.Tensor) -> Program:
    return capture(from_module("agent", network.eval(), example), 0)


def test_a_box_bounds_what_its_states_are_off_by() -> None:
    program, given = captured(drawn("relu", 1), torch.zeros(2, 64)), observations("relu", 1, 50)
    box = [(array.min(axis=0), array.max(axis=0)) for array in given]
    found = certify(program, INT8, given, box, seconds=60.0)
    assert found.states == 50
    assert found.certified is not None
    assert found.share == found.certified / 50
    assert found.bound is not None
    near = [(array[0] - 1e-3, array[0] + 1e-3) for array in given]
    smaller = certify(program, INT8, given, near, states=1)
    assert smaller.bound is not None
    assert 0 < smaller.bound < found.bound
    assert smaller.reason is found.reason is None


def test_a_continuous_action_has_an_error_and_no_share() -> None:
    program, given = captured(drawn("tanh", 1), torch.zeros(2, 64)), observations("tanh", 1, 8)
    action = program.but(contract=Contract(action="continuous", low=(-0.1,) * 4, high=(0.1,) * 4))
    found = certify(action, INT8, given, None, seconds=60.0)
    assert found.certified is found.share is None
    assert found.action_error is not None
    assert 0 < found.action_error <= 0.2  # its whole range, to which it is clipped
    assert found.reason == "no bound over a box: the inputs have no finite one"


def test_an_operator_without_a_bound_is_named() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head = nn.Linear(64, 64), nn.Linear(64, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            hidden = self.first(x)
            return self.head((hidden @ hidden.transpose(1, 2)) @ hidden)

    program, given = captured(Attention(), torch.zeros(2, 5, 64)), np.zeros((3, 5, 64), np.float32)
    box = [(given[0] - 1, given[0] + 1)]
    for observations_, within in (((given,), None), ((), box)):
        found = certify(program, INT8, observations_, within)
        assert found.states == 0
        assert found.share is found.bound is None
        assert found.reason is not None
        assert "MatMul" in found.reason


def test_a_recurrent_layer_has_no_bound_yet() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.head = nn.GRU(64, 64, batch_first=True), nn.Linear(64, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.cell(x)[0][:, -1])

    given = np.zeros((3, 5, 64), np.float32)
    found = certify(captured(Recurrent(), torch.zeros(2, 5, 64)), INT8, (given,), None)
    assert found.reason is not None
    assert found.reason.startswith("no bound: ")
    assert "Recurrent" in found.reason


def test_what_is_not_finite_is_not_certified() -> None:
    program, given = captured(drawn("relu", 1), torch.zeros(2, 64)), observations("relu", 1, 4)
    given[0][1, 5], given[0][2, 7] = np.nan, np.inf
    found = certify(program, INT8, given, [(np.full(64, -1e300), np.full(64, 1e300))], seconds=60.0)
    assert found.certified is not None
    assert found.certified <= 2
    assert found.bound is None
    assert found.reason is not None
    assert found.reason.endswith("a value may leave the range of float32")
    action = program.but(contract=Contract(action="continuous", low=(-1.0,) * 4, high=(1.0,) * 4))
    assert certify(action, INT8, given, None, seconds=60.0).action_error is None


def test_time_ends_it_with_what_was_looked_at() -> None:
    program, given = captured(drawn("relu", 1), torch.zeros(2, 64)), observations("relu", 1, 50)
    ticks = iter(range(1000))
    found = certify(program, INT8, given, None, seconds=3.0, clock=lambda: float(next(ticks)))
    assert 1 <= found.states < 10


def test_words_for_the_report() -> None:
    found = CertifiedReport(states=200, certified=150, share=0.75, bound=0.0123, box="declared")
    assert certified_words(found) == (
        "the action cannot differ on 150 of 200 recorded states; "
        "no output is off by more than 0.0123 within the declared inputs"
    )
    assert certified_words(CertifiedReport(reason="no bound: x")) == "no bound: x"


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(11)


def some(random: np.random.Generator, shape: tuple[int, ...], size: float, middle: float = 0.0) -> Enclosure:
    def draw(*lead: int) -> Array:
        return random.standard_normal((*lead, *shape)) * size

    return Enclosure(middle + draw(), np.abs(draw()), draw() / 8, draw(3) / 8, np.abs(draw()) / 8)


def instances(x: Enclosure, noise: Array, random: np.random.Generator) -> tuple[Array, Array]:
    """An exact and an executed value that the enclosure holds."""
    exact = x.middle + x.spread * random.uniform(-1, 1, x.middle.shape)
    signs = np.sign(random.uniform(-1, 1, x.middle.shape))
    error = x.centre + np.tensordot(noise[: len(x.symbols)], x.symbols, 1) + signs * x.rest
    return exact, exact + error


def assert_holds(x: Enclosure, exact: Array, executed: Array, noise: Array) -> None:
    tiny = 4 * SLACK * x.size + 1e-300
    assert (np.abs(exact - x.middle) <= x.spread + tiny).all()
    known = x.centre + np.tensordot(noise[: len(x.symbols)], x.symbols, 1)
    assert (np.abs(executed - exact - known) <= x.rest + tiny).all()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_hold_for_what_their_arguments_hold(name: str, random: np.random.Generator) -> None:
    function = FUNCTIONS[name]
    for size in (1e-3, 0.3, 3.0):
        positive = name in ("log", "log1p", "sqrt", "reciprocal")
        x = some(random, (50,), size, middle=20 * size if positive else 0.0)
        result = transformed(x, function.value(x.middle), function.slopes(*x.range()))
        for _ in range(40):
            noise = random.uniform(-1, 1, 3)
            exact, executed = instances(x, noise, random)
            assert_holds(result, function.value(exact), function.value(executed), noise)


def test_arithmetic_holds_for_what_its_operands_hold(random: np.random.Generator) -> None:
    x, y = some(random, (4, 9), 1.0), some(random, (9,), 2.0)
    total, difference, times = added(x, y), added(x, y, -1.0), multiplied(x, y)
    for _ in range(40):
        noise = random.uniform(-1, 1, 3)
        (a, b), (c, d) = instances(x, noise, random), instances(y, noise, random)
        assert_holds(total, a + c, b + d, noise)
        assert_holds(difference, a - c, b - d, noise)
        assert_holds(times, a * c, b * d, noise)


@pytest.mark.parametrize("center", [True, False])
def test_rows_hold_for_what_their_elements_hold(center: bool, random: np.random.Generator) -> None:
    def z(row: Array) -> Array:
        row = row - row.mean(-1, keepdims=True) if center else row
        result: Array = row / np.sqrt(np.square(row).mean(-1, keepdims=True) + 1e-5)
        return result

    def shares(row: Array) -> Array:
        raised = np.exp(row - row.max(-1, keepdims=True))
        result: Array = raised / raised.sum(-1, keepdims=True)
        return result

    for size in (0.01, 0.3):
        x = some(random, (3, 24), size)
        x = Enclosure(x.middle / size, x.spread, x.centre, x.symbols, x.rest)
        of_z, of_shares = normalised(x, 1e-5, center=center), softmax(x)
        for _ in range(40):
            noise = random.uniform(-1, 1, 3)
            exact, executed = instances(x, noise, random)
            assert_holds(of_z, z(exact), z(executed), noise)
            assert_holds(of_shares, shares(exact), shares(executed), noise)


def test_what_is_given_exactly_has_no_error() -> None:
    given = exactly(np.arange(3.0))
    assert not given.error.any()
    assert (given.range()[0] <= given.middle).all()
