"""An agent with a cache in front of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch

from grandopt.errors import ConfigError, SignatureError
from grandopt.runtime.cache.break_even import PATIENCE, PAUSE, SAMPLES
from grandopt.runtime.cache.cached import CachedPolicy
from grandopt.runtime.cache.hierarchy import Hierarchy
from grandopt.runtime.cache.keys import InputKeys
from grandopt.runtime.cache.levels.memory import MemoryLevel
from grandopt.runtime.cache.lookup import STRIDE
from grandopt.runtime.cache.policies.lru import LRU
from grandopt.signature import Array, Contract, Signature, StateTensor, TensorSpec
from tests.fakes import FakeExecutor
from tests.runtime.cache.clock import Clock

ONE = Signature((TensorSpec("state", (3,)),), (TensorSpec("action", (2,)),))
TWO = Signature(
    (TensorSpec("left", (2,)), TensorSpec("right", (1,))),
    (TensorSpec("sum", (1,)), TensorSpec("product", (1,))),
)


def doubled(inputs: Sequence[Array]) -> tuple[Array, ...]:
    return (np.ascontiguousarray(2 * inputs[0][:, :2]),)


def both(inputs: Sequence[Array]) -> tuple[Array, ...]:
    left, right = inputs
    return left.sum(axis=1, keepdims=True) + right, left.prod(axis=1, keepdims=True) * right


@pytest.fixture
def cache() -> Iterator[Hierarchy]:
    with Hierarchy([MemoryLevel(LRU(), 1000, 1 << 20)]) as made:
        yield made


def test_it_answers_as_the_agent_does_and_asks_it_once(cache: Hierarchy) -> None:
    agent = FakeExecutor(ONE, doubled)
    policy = CachedPolicy(agent, InputKeys("a"), cache)
    single = np.float32([1, 2, 3])
    batch = np.stack([single, -single])
    for given in (single, batch, batch.astype(np.float64), np.asfortranarray(batch), [1.0, 2.0, 3.0]):
        expected = agent(given)
        calls = agent.calls
        for _ in range(3):
            found = policy(given)
            np.testing.assert_array_equal(found, expected)
            assert found.shape == expected.shape
            assert found.dtype == expected.dtype
        assert agent.calls - calls <= 1
        assert not policy(given).flags.writeable
    np.testing.assert_array_equal(policy.run([batch])[0], 2 * batch[:, :2])
    out = np.empty((2, 2), np.float32)
    policy.run_into([batch], [out])
    np.testing.assert_array_equal(out, 2 * batch[:, :2])


def test_several_inputs_and_outputs_mappings_and_tensors(cache: Hierarchy) -> None:
    agent = FakeExecutor(TWO, both)
    policy = CachedPolicy(agent, InputKeys("a"), cache)
    left, right = np.float32([2, 3]), np.float32([4])
    for _ in range(2):
        assert [float(each[0]) for each in policy(left, right)] == [9.0, 24.0]
        assert [float(each[0]) for each in policy({"right": right, "left": left})] == [9.0, 24.0]
        total, product = policy(torch.from_numpy(left), torch.from_numpy(right))
        assert (float(total), float(product)) == (9.0, 24.0)
        total.zero_()  # a tensor knows no read-only memory: it is the caller's own
    assert agent.calls == 1
    assert [float(each[0]) for each in policy(right[[0, 0]], right)] == [12.0, 64.0]


def test_agents_that_share_a_cache_share_no_answers(cache: Hierarchy) -> None:
    first = CachedPolicy(FakeExecutor(ONE, doubled), InputKeys("a"), cache)
    second = CachedPolicy(FakeExecutor(ONE, lambda inputs: (-doubled(inputs)[0],)), InputKeys("b"), cache)
    state = np.float32([1, 2, 3])
    assert first(state).tolist() == [2, 4]
    assert second(state).tolist() == [-2, -4]
    assert first(state).tolist() == [2, 4]


def test_a_new_version_answers_at_once_and_the_old_answers_are_gone(cache: Hierarchy) -> None:
    policy = CachedPolicy(FakeExecutor(ONE, doubled), InputKeys("old"), cache)
    states = [np.float32([number, 1, 1]) for number in range(5)]
    for state in states:
        policy(state)
    new = FakeExecutor(ONE, lambda inputs: (-doubled(inputs)[0],))
    assert policy.deploy(new, InputKeys("new")) == 5
    assert policy(states[1]).tolist() == [-2, -2]
    assert cache.stats().levels[0].counts.entries == 1
    assert policy.deploy(new, InputKeys("new")) == 0  # the same one again loses nothing
    assert cache.stats().levels[0].counts.entries == 1
    with pytest.raises(SignatureError, match="another signature"):
        policy.deploy(FakeExecutor(TWO, both), InputKeys("other"))
    assert policy(states[1]).tolist() == [-2, -2]


def test_what_the_agent_refuses_is_refused_and_not_kept(cache: Hierarchy) -> None:
    policy = CachedPolicy(FakeExecutor(ONE, doubled), InputKeys("a"), cache)
    for _ in range(2):
        with pytest.raises(SignatureError, match="state"):
            policy(np.zeros(4, np.float32))
    assert cache.stats().levels[0].counts.entries == 0
    remembering = Signature(
        (TensorSpec("state", (3,)), TensorSpec("h", (1,))),
        (TensorSpec("action", (2,)), TensorSpec("h2", (1,))),
    )
    agent = FakeExecutor(remembering, both, Contract(state=(StateTensor("h", "h2"),)))
    with pytest.raises(SignatureError, match="keeps a state"):
        CachedPolicy(agent, InputKeys("a"), cache)
    with pytest.raises(ConfigError, match="must be positive"):
        CachedPolicy(FakeExecutor(ONE, doubled), InputKeys("a"), cache, ttl=-1)


class TickingClock(Clock):
    """Gets on by 1 µs each time that it is looked at: so long seems a look-up."""

    def __call__(self) -> float:
        self.now += 1e-6
        return self.now


@pytest.mark.parametrize(
    ("takes", "must_pay", "stays"), [(0.0, True, False), (5e-3, True, True), (0.0, False, True)]
)
def test_a_fast_agent_is_asked_itself_and_an_embedder_is_not(
    cache: Hierarchy, caplog: pytest.LogCaptureFixture, takes: float, must_pay: bool, stays: bool
) -> None:
    clock = TickingClock()

    def answer(inputs: Sequence[Array]) -> tuple[Array, ...]:
        clock.now += takes - 0.5e-6  # half of what a look-up takes, or much more
        return doubled(inputs)

    agent = FakeExecutor(ONE, answer)
    policy = CachedPolicy(agent, InputKeys("a"), cache, name="gate", must_pay=must_pay, clock=clock)
    state = np.float32([1, 2, 3])
    caplog.set_level(logging.INFO)
    for _ in range(STRIDE * SAMPLES * (PATIENCE + 1)):
        policy(state)
        if not policy.on:
            break
    assert policy.on is stays
    calls = agent.calls
    for _ in range(100):
        assert policy(state).tolist() == [2, 4]
        assert policy([1.0, 2.0, 3.0]).tolist() == [2, 4]
        assert policy.run([state[None]])[0].tolist() == [[2, 4]]
    assert agent.calls - calls == (1 if stays else 300)
    assert ("cache of gate: off for 60 s, it does not pay" in caplog.text) is not stays
    if not stays:
        clock.now += PAUSE + 1
        for _ in range(STRIDE):
            policy(state)
        assert policy.on
        assert "cache of gate: tried again" in caplog.text
