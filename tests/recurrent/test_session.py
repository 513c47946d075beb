"""The session object: reset, streams, state in and out, bad input, threads."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build
from grandopt.config.engines import EagerOptions
from grandopt.errors import SignatureError
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.loader import load
from grandopt.signature import Array, Contract, Signature, StateTensor, TensorSpec
from tests.native.conftest import BEST
from tests.recurrent.networks import HIDDEN, GruCellPolicy, LstmCellPolicy, observations, program, whole
from tests.small_agents import Policy
from tests.small_agents import program as stateless


class Counting(Executor):
    """Adds up what it sees: total' = total + obs, and says total'. A start of 1 forgets the total."""

    def __init__(self, initial: float | tuple[float, ...] = 0.0, *, transposed: bool = False) -> None:
        inputs = (TensorSpec("total", (2,)), TensorSpec("start", ()), TensorSpec("obs", (2,)))
        outputs = (TensorSpec("next", (2,)), TensorSpec("said", (2,)))
        state = (StateTensor("total", "next", initial),)
        super().__init__(Signature(inputs, outputs), Contract(state=state, episode_start="start"))
        self.transposed = transposed
        self.seen: list[Sequence[Array]] = []

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        self.seen.append(inputs)
        assert all(array.flags.c_contiguous for array in inputs)
        total, start, obs = inputs
        if np.isinf(obs).any():
            raise RuntimeError("infinite")
        summed = total * (1 - start)[:, np.newaxis] + obs
        return (np.asfortranarray(summed) if self.transposed else summed), summed.copy()


@pytest.fixture(scope="module")
def executors(tmp_path_factory: pytest.TempPathFactory) -> list[Executor]:
    store = Store(tmp_path_factory.mktemp("session"))
    options = (BEST, EagerOptions())
    return [load(build(program(GruCellPolicy), Candidate("float32", one), store).path) for one in options]


def test_the_state_moves_on_and_can_be_begun_anew() -> None:
    session = Counting(initial=(1.0, 2.0)).session()
    one = np.ones(2, np.float32)
    assert session(one).tolist() == [2.0, 3.0]
    assert session(one).tolist() == [3.0, 4.0]
    assert session.state["total"].tolist() == [[3.0, 4.0]]
    session.reset()
    assert session(one).tolist() == [2.0, 3.0]


def test_a_mask_begins_some_streams_anew() -> None:
    session = Counting(initial=5.0).session(3)
    rows = np.ones((3, 2), np.float32)
    session(rows)
    session.reset([False, True, False])
    assert session(rows)[:, 0].tolist() == [7.0, 6.0, 7.0]
    for mask in ([True], [0, 1, 0], np.ones((3, 1), bool)):
        with pytest.raises(SignatureError, match=r"must be booleans \[3\]"):
            session.reset(mask)


def test_the_start_of_an_episode_is_the_sessions_own_business() -> None:
    executor = Counting()
    session = executor.session()
    session(np.ones(2, np.float32))
    assert [spec.name for spec in session.observed.inputs] == ["obs"]
    assert executor.seen[0][1].tolist() == [0.0]


def test_the_state_goes_out_and_in_as_copies() -> None:
    session = Counting().session()
    session(np.ones(2, np.float32))
    state = session.state
    state["total"][:] = 100.0
    assert session.state["total"].tolist() == [[1.0, 1.0]]
    session.state = state
    state["total"][:] = -1.0
    assert session(np.zeros(2, np.float32)).tolist() == [100.0, 100.0]
    session.state = {"total": [7, 8]}  # one stream: without the batch, and whole numbers convert
    assert session.state["total"].tolist() == [[7.0, 8.0]]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "missing"),
        ({"total": np.zeros((2, 2)), "more": np.zeros((2, 2))}, "unexpected"),
        ({"total": np.zeros((2, 3))}, "expected shape"),
        ({"total": np.zeros((3, 2))}, "given a batch of 3"),
        ({"total": np.zeros(2)}, "a state without a batch"),
        ({"total": np.zeros((2, 2), complex)}, "expected dtype float32"),
    ],
)
def test_a_wrong_state_is_refused_and_the_old_one_stays(state: dict[str, Array], message: str) -> None:
    session = Counting().session(2)
    session(np.ones((2, 2), np.float32))
    with pytest.raises(SignatureError, match=message):
        session.state = state
    assert session.state["total"].tolist() == [[1.0, 1.0]] * 2


@pytest.mark.parametrize("wrong", [np.zeros(3), np.zeros((1, 2)), np.zeros((2, 3)), np.zeros(2)])
def test_a_wrong_observation_is_refused(executors: list[Executor], wrong: Array) -> None:
    for executor in (*executors, Counting()):
        with pytest.raises(SignatureError, match=r"expected shape|has a batch of"):
            executor.session(2)(wrong.astype(np.float32))


def test_a_call_that_fails_leaves_the_state() -> None:
    session = Counting().session()
    session(np.ones(2, np.float32))
    out = np.zeros((1, 2), np.float32)
    infinite = np.full((1, 2), np.inf, np.float32)
    with pytest.raises(RuntimeError, match="infinite"):
        session(infinite)
    with pytest.raises(RuntimeError, match="infinite"):
        session.run_into((infinite,), (out,))
    with pytest.raises(SignatureError, match="expected 1 output"):
        session.run_into((infinite,), (out, out))
    assert session.state["total"].tolist() == [[1.0, 1.0]]


def test_outputs_in_another_layout_come_back_in_the_promised_one() -> None:
    session = Counting(transposed=True).session(4)
    for _ in range(3):
        session(np.ones((4, 2), np.float32))
    assert session.state["total"].tolist() == [[3.0, 3.0]] * 4


def test_tensors_mappings_and_other_dtypes_are_taken() -> None:
    session = Counting().session()
    assert isinstance(session(torch.ones(1, 2)), torch.Tensor)
    assert session({"obs": np.ones((1, 2))}).tolist() == [[2.0, 2.0]]
    assert session([1, 1]).tolist() == [3.0, 3.0]


def test_what_cannot_be_a_session(executors: list[Executor]) -> None:
    with pytest.raises(SignatureError, match="from 1 on, got 0"):
        executors[0].session(0)
    with pytest.raises(SignatureError, match=r"from 1 on, got 1\.5"):
        executors[0].session(1.5)  # type: ignore[arg-type]


def test_an_agent_without_state_has_none(tmp_path_factory: pytest.TempPathFactory) -> None:
    store = Store(tmp_path_factory.mktemp("stateless"))
    executor = load(build(stateless(Policy), Candidate("float32", EagerOptions()), store).path)
    with pytest.raises(SignatureError, match="keeps no state"):
        executor.session()


def test_nan_stays_in_its_stream_until_that_is_reset(executors: list[Executor]) -> None:
    for executor in executors:
        broken, sound = executor.session(3), executor.session(3)
        rows = observations(4, 3)
        spoilt = rows[0].copy()
        spoilt[1, 2] = np.nan
        broken(spoilt), sound(rows[0])
        for row in rows[1:3]:
            given, wanted = broken(row), sound(row)
            assert np.isnan(given[1]).all()
            np.testing.assert_array_equal(given[[0, 2]], wanted[[0, 2]])
        for session in (broken, sound):
            session.reset([False, True, False])
        np.testing.assert_array_equal(broken(rows[3]), sound(rows[3]))


def test_streams_of_a_batch_do_not_touch_each_other(executors: list[Executor]) -> None:
    rows = observations(20, 4)
    for executor in executors:
        together = executor.session(4)
        alone = [executor.session() for _ in range(4)]
        for row in rows:
            singly = np.stack([session(row[place]) for place, session in enumerate(alone)])
            np.testing.assert_allclose(together(row), singly, rtol=0, atol=1e-6)


def test_sessions_of_several_threads_share_one_executor(tmp_path_factory: pytest.TempPathFactory) -> None:
    store = Store(tmp_path_factory.mktemp("threads"))
    executor = load(build(program(LstmCellPolicy), Candidate("float32", BEST), store).path)
    errors: list[float] = []
    wanted = {seed: whole(LstmCellPolicy, observations(400, 1, seed)) for seed in range(2)}

    def compared(seed: int) -> None:
        session = executor.session()
        found = np.stack([session(row) for row in observations(400, 1, seed)])
        errors.append(float(np.abs(found - wanted[seed]).max()))

    threads = [threading.Thread(target=compared, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 2
    assert max(errors) < 2e-6


def test_a_session_belongs_to_its_thread(executors: list[Executor]) -> None:
    session = executors[0].session()
    row = observations(1, 1)[0]
    out = np.zeros((1, 3), np.float32)
    refused: list[str] = []

    def elsewhere() -> None:
        for attempt in (
            lambda: session(row),
            lambda: session.run_into((row,), (out,)),
            session.reset,
            lambda: session.state,
        ):
            try:
                attempt()
            except SignatureError as error:
                refused.append(str(error))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert len(refused) == 4
    assert all("belongs to the thread that made it" in line for line in refused)
    assert session.state["h"].shape == (1, HIDDEN)
    assert not session.state["h"].any()


def test_results_belong_to_the_caller(executors: list[Executor]) -> None:
    for executor in executors:
        session = executor.session()
        rows = observations(3, 1)
        first = session(rows[0])
        kept = first.copy()
        session(rows[1]), session(rows[2])
        np.testing.assert_array_equal(first, kept)
