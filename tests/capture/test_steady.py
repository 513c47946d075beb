"""A network that keeps state or samples is told so, whatever it keeps and however little that changes."""

from __future__ import annotations

import collections
import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from grandopt.compiler.capture.export import capture
from grandopt.errors import SignatureError
from tests.capture.agents import Policy, checkpoint


class Keeps(Policy):
    """Does something beside answering, to itself."""

    def __init__(self, beside: Callable[[Keeps, Tensor], Tensor | None]) -> None:
        super().__init__()
        self.register_buffer("clock", torch.zeros(1))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.steps, self.frames, self.made = 0, collections.deque(maxlen=3), None
        self.inner = nn.Identity()
        self.inner.last = [{"h": torch.zeros(3)}]
        self.beside = beside

    def forward(self, state: Tensor) -> Tensor:
        more = self.beside(self, state)
        return self.net(state) if more is None else self.net(state) + more


def slow_clock(agent: Keeps, state: Tensor) -> Tensor:
    agent.clock += 1e-9
    return agent.clock * 0.0


def replaced(agent: Keeps, state: Tensor) -> None:
    agent.clock = agent.clock.clone()


def through_data(agent: Keeps, state: Tensor) -> None:
    agent.count.data.add_(1)


def steps(agent: Keeps, state: Tensor) -> Tensor | None:
    agent.steps += 1
    return torch.ones(3) if agent.steps > 500 else None


def frames(agent: Keeps, state: Tensor) -> Tensor:
    agent.frames.append(state)
    return sum(agent.frames).mean() * 1e-9


def nested(agent: Keeps, state: Tensor) -> Tensor:
    agent.inner.last[0]["h"].add_(1.0)
    return agent.inner.last[0]["h"]


@pytest.mark.parametrize(
    ("beside", "message"),
    [
        (slow_clock, "writes buffer 'clock'"),
        (replaced, "writes buffer 'clock'"),
        (through_data, "writes buffer 'count'"),
        (frames, "changes attribute 'frames'"),
        (steps, "changes attribute 'steps'"),
        (nested, r"changes attribute 'inner\.last'"),
        (lambda agent, state: torch.randn(3), "draws random numbers"),
        (lambda agent, state: torch.tensor(random.random()), "draws random numbers"),
        (lambda agent, state: torch.tensor(np.random.rand()), "draws random numbers"),
    ],
)
def test_it_is_refused_with_what_it_keeps(
    beside: Callable[[Keeps, Tensor], Tensor | None], message: str
) -> None:
    with pytest.raises(SignatureError, match=message) as caught:
        capture(checkpoint(Keeps(beside), (8,)))
    assert "\n" not in str(caught.value)


def test_a_source_of_random_numbers_of_its_own_is_told_from_the_usual_ones() -> None:
    source = np.random.default_rng(0)

    def beside(agent: Keeps, state: Tensor) -> Tensor:
        return torch.tensor(source.random())

    with pytest.raises(SignatureError, match="a random source of its own"):
        capture(checkpoint(Keeps(beside), (8,)))


def test_what_is_made_once_or_never_read_is_no_state() -> None:
    def beside(agent: Keeps, state: Tensor) -> Tensor:
        agent.steps = float(state.shape[0])  # for people to look at
        agent.made = agent.made if agent.made is not None else torch.ones(3)
        return agent.made

    assert capture(checkpoint(Keeps(beside), (8,))).signature.outputs[0].shape == (3,)


def test_drawing_leaves_the_users_random_numbers_alone() -> None:
    agent = checkpoint(Keeps(lambda agent, state: None), (8,))
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    capture(agent)
    assert before == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
