"""Keys under which close inputs are equal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from grandopt.errors import ConfigError, SignatureError
from grandopt.runtime.cache.approximate import ApproximateKeys
from grandopt.runtime.cache.cached import CachedPolicy
from grandopt.runtime.cache.hierarchy import Hierarchy
from grandopt.runtime.cache.keys import InputKeys
from grandopt.runtime.cache.levels.memory import MemoryLevel
from grandopt.runtime.cache.policies.lru import LRU
from grandopt.signature import Signature, TensorSpec
from tests.fakes import FakeExecutor

SIGNATURE = Signature(
    (TensorSpec("price", (2, 2)), TensorSpec("side", (1,), "int64")), (TensorSpec("out", (1,)),)
)
SINGLE = Signature((TensorSpec("price", (2,)),), (TensorSpec("out", (1,)),))
SIDE = np.zeros((1, 1), np.int64)


@given(arrays(np.float32, (1, 2, 2), elements=st.floats(-100, 100, width=32)))
def test_each_feature_is_off_by_half_a_step_at_most(price: np.ndarray[Any, Any]) -> None:
    steps = np.array([[0.25, 0.0], [0.5, 1.0]])
    keys = ApproximateKeys("a", SIGNATURE, {"price": list(steps.flat)})
    rounded, side = keys.representative([price, SIDE])
    assert rounded.dtype == np.float32
    assert side is SIDE
    assert (np.abs(rounded - price) <= steps / 2 + 1e-6).all()
    assert rounded[0, 0, 1].tobytes() == price[0, 0, 1].tobytes()
    assert keys.key([price, SIDE]) == keys.key([rounded, SIDE])
    again = keys.representative([rounded, SIDE])[0]
    assert again.tobytes() == rounded.tobytes()


def test_close_inputs_are_equal_and_others_are_not() -> None:
    keys = ApproximateKeys("a", SINGLE, {"price": 0.5})
    one, two, three = (np.float32([[value, 1.0]]) for value in (10.1, 10.2, 10.3))
    assert keys.one(one) == keys.one(two) == keys.key([one])
    assert keys.one(one) != keys.one(three)
    assert keys.one(np.float32([[-0.1, 0]])) == keys.one(np.float32([[0.1, 0]]))
    assert keys.one(one[0]) != keys.one(one)  # with and without the batch
    for odd in (np.nan, np.inf, -np.inf, 3e38):
        array = np.float32([[odd, 1.0]])
        assert keys.representative([array])[0].tobytes() == array.tobytes()


def test_other_steps_have_other_keys_and_the_same_prefix() -> None:
    array = np.float32([[10.0, 1.0]])
    made = [
        InputKeys("a"),
        ApproximateKeys("a", SINGLE, {"price": 0.5}),
        ApproximateKeys("a", SINGLE, {"price": 0.25}),
        ApproximateKeys("a", SINGLE, {"price": [0.5, 0.0]}),
    ]
    assert len({keys.one(array) for keys in made}) == len(made)
    assert len({keys.prefix for keys in made}) == 1


def test_an_answer_does_not_depend_on_who_came_first() -> None:
    agent = FakeExecutor(SINGLE, lambda inputs: (inputs[0][:, :1].copy(),))
    for order in ((10.1, 10.2), (10.2, 10.1)):
        with Hierarchy([MemoryLevel(LRU(), 10, 1 << 20)]) as cache:
            policy = CachedPolicy(agent, ApproximateKeys("a", SINGLE, {"price": 0.5}), cache)
            for value in order:
                assert policy(np.float32([value, 1])).tolist() == [10.0]
                assert policy.run([np.float32([[value, 1]])])[0].tolist() == [[10.0]]


@pytest.mark.parametrize("shape", [(3,), (1,), (2, 1), (1, 2, 1)])
def test_arrays_without_the_features_are_refused(shape: tuple[int, ...]) -> None:
    agent = FakeExecutor(SINGLE, lambda inputs: (inputs[0][:, :1].copy(),))
    with Hierarchy([MemoryLevel(LRU(), 10, 1 << 20)]) as cache:
        policy = CachedPolicy(agent, ApproximateKeys("a", SINGLE, {"price": [0.5, 0.1]}), cache)
        with pytest.raises(SignatureError, match="features"):
            policy(np.zeros(shape, np.float32))
    assert agent.calls == 0


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ({"prise": 0.5}, "'prise', which is no input; they are price, side"),
        ({"side": 1.0}, "holds int64, which is not rounded"),
        ({"price": [0.5, 0.5]}, "has 4 features, got 2 steps"),
        ({"price": -0.5}, "must be 0 or positive"),
        ({"price": float("nan")}, "must be 0 or positive"),
    ],
)
def test_steps_that_fit_nothing_are_refused(steps: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ApproximateKeys("a", SIGNATURE, steps)
