"""Products over whole numbers: what they cost, what becomes of NaN, and what is beyond the calibration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from grandopt.compiler.backends.native.passes.codes import channel_scales, codes_of
from grandopt.compiler.backends.native.plain.fixed import rounded
from grandopt.compiler.backends.native.plain.host import HostExecutor, compile_host
from grandopt.compiler.backends.native.plain.stages import PlainAgent, plain
from grandopt.compiler.backends.native.toolchain import find_compiler
from grandopt.signature import Array
from tests.microcontrollers.agents import Actor, Remembering, program
from tests.small_agents import draw, expected


@pytest.fixture(scope="module")
def coded() -> PlainAgent:
    """The actor over codes, calibrated on draws."""
    return plain(program(Actor), "int8", draw(program(Actor), 256, seed=5))


@pytest.fixture(scope="module")
def actor(coded: PlainAgent, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostExecutor]:
    of = program(Actor)
    path = compile_host(coded.source, find_compiler(), tmp_path_factory.mktemp("fixed"))
    with closing(HostExecutor([str(path)], of.signature, of.contract)) as executor:
        yield executor


def off(answers: Sequence[Array], truth: Sequence[Array]) -> float:
    return float(np.linalg.norm(answers[0] - truth[0]) / np.linalg.norm(truth[0]))


def test_weights_take_a_third_and_the_answers_stay(coded: PlainAgent, actor: HostExecutor) -> None:
    of = program(Actor)
    inputs = draw(of, 64)
    assert coded.source.weight_bytes < plain(of, "float32").source.weight_bytes / 3
    assert coded.coded_products == 4
    assert off(actor.run(inputs), expected(of, inputs)) < 0.01


def test_between_products_there_are_whole_numbers_alone(coded: PlainAgent) -> None:
    """The two that only other products read become codes by a multiplier and a shift."""
    assert coded.source.text.count("= grandopt_rescaled(") == 2


def test_nan_and_infinity_never_become_an_action(actor: HostExecutor) -> None:
    inputs = draw(program(Actor), 4)
    for row, value in enumerate((np.nan, np.inf, -np.inf)):
        inputs[0][row, row] = value
    (answers,) = actor.run(inputs)
    assert np.isnan(answers[:3]).all()
    assert np.isfinite(answers[3]).all()


def test_twice_the_calibrations_range_is_no_matter(actor: HostExecutor) -> None:
    of = program(Actor)
    inputs = [2 * array for array in draw(of, 64)]
    assert off(actor.run(inputs), expected(of, inputs)) < 0.02


def test_features_of_different_sizes_have_codes_of_their_own(tmp_path: Path) -> None:
    """Some are a hundredth of the others, and one is far from zero."""
    of = program(Actor)
    scale = np.where(np.arange(24) % 2, 0.01, 1.0).astype(np.float32)
    offset = np.where(np.arange(24) == 3, 5.0, 0.0).astype(np.float32)

    def drawn(rows: int, seed: int) -> list[Array]:
        return [offset + scale * draw(of, rows, seed)[0]]

    agent = plain(of, "int8", drawn(256, 5))
    path = compile_host(agent.source, find_compiler(), tmp_path)
    inputs = drawn(64, 6)
    with closing(HostExecutor([str(path)], of.signature, of.contract)) as executor:
        assert off(executor.run(inputs), expected(of, inputs)) < 0.01


def test_rounding_is_made_good_where_inputs_go_together() -> None:
    """Sixteen inputs of which four numbers are behind: what one weight loses, another has to spare."""
    rng = np.random.default_rng(0)
    rows, weight = rng.standard_normal((256, 4)) @ rng.standard_normal((4, 16)), rng.standard_normal((8, 16))
    scale = channel_scales(weight)

    def lost(codes: Array) -> float:
        return float(np.linalg.norm(rows @ (codes * scale[:, np.newaxis] - weight).T))

    codes = rounded(weight, scale, rows)
    assert lost(codes) < 0.5 * lost(codes_of(weight))
    np.testing.assert_array_equal(codes, np.clip(np.rint(codes), -127, 127))
    idle = rounded(weight, scale, np.zeros((4, 16)))
    np.testing.assert_array_equal(idle, codes_of(weight))


def test_a_state_of_codes_is_carried_for_hundreds_of_steps(tmp_path: Path) -> None:
    of = program(Remembering)
    agent = plain(of, "int8", draw(of, 256, seed=5))
    path = compile_host(agent.source, find_compiler(), tmp_path)
    rng = np.random.default_rng(1)
    mine = truth = np.zeros((1, 32), np.float32)
    with closing(HostExecutor([str(path)], of.signature, of.contract)) as executor:
        for _ in range(300):
            x = rng.standard_normal((1, 6)).astype(np.float32)
            answer, mine = executor.run((x, mine))
            wanted, truth = expected(of, [x, truth])
    assert off([answer], [wanted]) < 0.02
    assert off([mine], [truth]) < 0.02
