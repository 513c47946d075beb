"""Stepwise artifacts of every engine give what the same weights give over the whole sequence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch import nn

from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build, original
from grandopt.config.engines import (
    EagerOptions,
    EngineOptions,
    InductorOptions,
    OnnxRuntimeOptions,
    OpenVinoOptions,
    TorchScriptOptions,
)
from grandopt.runtime.loader import load
from tests.engines.conftest import need
from tests.native.conftest import BEST
from tests.recurrent.networks import HIDDEN, KINDS, GruCellPolicy, LstmPolicy, observations, program, whole

STEPS = 60
CLOSE = {"rtol": 0.0, "atol": 2e-6}
ENGINES: tuple[EngineOptions, ...] = (
    BEST,
    EagerOptions(),
    TorchScriptOptions(),
    OnnxRuntimeOptions(),
    OpenVinoOptions(),
    InductorOptions(),
)
QUICK = (LstmPolicy, GruCellPolicy)


def _mark(kind: type[nn.Module], options: EngineOptions) -> Any:
    """Of inductor, which compiles for half a minute, the slow tests see one layer and one cell."""
    if options.engine == "inductor" and kind not in QUICK:
        return pytest.mark.stress
    if kind is QUICK[0] and options.engine != "inductor":
        return ()
    return () if kind in QUICK and options.engine == "native" else pytest.mark.slow


CASES = [
    pytest.param(
        kind,
        options,
        id=f"{kind.__name__}-{options.engine}",
        marks=_mark(kind, options),
    )
    for kind in KINDS
    for options in ENGINES
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("recurrent"))


@pytest.mark.parametrize(("kind", "options"), CASES)
def test_steps_equal_the_whole_sequence(store: Store, kind: type[nn.Module], options: EngineOptions) -> None:
    need(options.engine)
    executor = load(build(program(kind), Candidate("float32", options), store).path)
    for batch in (1, 3):
        observed = observations(STEPS, batch, seed=batch)
        session = executor.session(batch)
        stepped = np.stack([session(row) for row in observed])
        np.testing.assert_allclose(stepped, whole(kind, observed), **CLOSE)
        session.reset()
        out = np.zeros(stepped.shape[1:], np.float32)
        for row, wanted in zip(observed, stepped, strict=True):
            session.run_into((row,), (out,))
            np.testing.assert_array_equal(out, wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_the_original_steps_like_the_whole_sequence(store: Store, kind: type[nn.Module]) -> None:
    executor = load(original(program(kind), store).path, trust=True)
    session = executor.session()
    observed = observations(STEPS, 1)
    stepped = np.stack([session(row) for row in observed])
    np.testing.assert_allclose(stepped, whole(kind, observed), **CLOSE)


def test_the_plain_call_takes_and_gives_the_state(store: Store) -> None:
    executor = load(build(program(LstmPolicy), Candidate("float32", BEST), store).path)
    assert [spec.name for spec in executor.signature.outputs] == ["output_0", "h_next", "c_next"]
    session = executor.session()
    h = c = np.zeros((1, 2, HIDDEN), np.float32)  # the batch first, then the layers
    for row in observations(5, 1):
        action, h, c = executor(row, h, c)
        np.testing.assert_array_equal(session(row), action)
        state = session.state
        np.testing.assert_array_equal(state["h"], h)
        np.testing.assert_array_equal(state["c"], c)


def test_the_contract_travels_with_the_artifact(store: Store) -> None:
    artifact = build(program(GruCellPolicy), Candidate("float32", BEST), store)
    (tensor,) = load(artifact.path).contract.state
    assert (tensor.input, tensor.output, tensor.initial) == ("h", "h_next", 0.0)
