"""A recurrent agent in the contest: samples without states, episodes in the verdict, the build processes."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.memory import from_module
from grandopt.config.schema import AgentConfig
from grandopt.errors import SamplesError
from grandopt.verification.samples import load_samples
from grandopt.workflows.agents import Opened
from grandopt.workflows.builders import Patience
from grandopt.workflows.contest import Contest
from grandopt.workflows.events import Event
from tests.recurrent.networks import KINDS, LstmPolicy, made, observations
from tests.workflows.conftest import MakeRun, make_run

__all__ = ["make_run"]

LABEL = "torchscript/float32/no-ofi"


def patience(seconds: float) -> Patience:
    end = time.monotonic() + seconds
    return Patience(end, end)


def opened(folder: Path) -> Opened:
    """The policy with recorded observations, and nothing recorded of its state."""
    shapes, state, _ = KINDS[LstmPolicy]
    example = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    checkpoint = from_module("policy", made(LstmPolicy), example, state=state)
    np.savez(folder / "samples.npz", obs=observations(100, 1)[:, 0])
    samples = load_samples(folder / "samples.npz", checkpoint.observed)
    return Opened("policy", AgentConfig(checkpoint=Path("policy")), checkpoint, samples)


@pytest.mark.slow
def test_it_is_built_verified_and_known_again(make_run: MakeRun, tmp_path: Path) -> None:
    events: list[Event] = []
    agent = opened(tmp_path)
    with make_run(events) as run:
        contest = Contest(run, agent, capture(agent.checkpoint))
        assert contest.samples is not None
        _, h, c = contest.samples
        assert (h.shape, c.shape) == ((100, 2, 12), (100, 2, 12))
        assert not h[0].any()
        assert h[1:].any(axis=(1, 2)).all()
        contest.build([(LABEL, 1)], patience(120.0))
        entry = contest.entry(LABEL)
        assert entry.status == "verified", entry.reason
        assert entry.verification is not None
        assert entry.verification.steps == 60 + 256
        assert contest.observations(1)[1].shape == (256, 2, 12)
    with make_run(events) as run:
        again = Contest(run, agent, capture(agent.checkpoint))
        again.build([(LABEL, 1)], patience(0.1))  # no time to build: it must be known
        assert again.entry(LABEL).verification == entry.verification
        other = replace(agent, samples=None)
        assert Contest(run, other, capture(agent.checkpoint)).samples is None


def test_samples_need_every_observation(tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", h=np.zeros((3, 2, 12), np.float32), c=np.zeros((3, 2, 12), np.float32))
    with pytest.raises(SamplesError, match="no samples for input 'obs'"):
        load_samples(tmp_path / "s.npz", opened(tmp_path).checkpoint.observed)
