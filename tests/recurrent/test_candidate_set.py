"""A recurrent agent in a candidate set: samples without states, episodes in the verdict, build processes."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.config.schema import AgentConfig
from grandopt.errors import SamplesError
from grandopt.verification.samples import load_samples
from grandopt.workflows.building.request import Deadline
from grandopt.workflows.events import Event
from grandopt.workflows.open_agents import OpenedAgent
from grandopt.workflows.selection.candidate_set import CandidateSet
from tests.recurrent.networks import KINDS, LstmPolicy, made, observations
from tests.workflows.conftest import MakeRun, make_run

__all__ = ["make_run"]

LABEL = "torchscript/float32/no-ofi"


def within(seconds: float) -> Deadline:
    end = time.monotonic() + seconds
    return Deadline(end, end)


def opened(folder: Path) -> OpenedAgent:
    """The policy with recorded observations, and nothing recorded of its state."""
    shapes, state, _ = KINDS[LstmPolicy]
    example = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    checkpoint = from_module("policy", made(LstmPolicy), example, state=state)
    np.savez(folder / "samples.npz", obs=observations(100, 1)[:, 0])
    samples = load_samples(folder / "samples.npz", checkpoint.observed)
    return OpenedAgent("policy", AgentConfig(checkpoint=Path("policy")), checkpoint, samples)


@pytest.mark.slow
def test_it_is_built_verified_and_known_again(make_run: MakeRun, tmp_path: Path) -> None:
    events: list[Event] = []
    agent = opened(tmp_path)
    with make_run(events) as run:
        candidates = CandidateSet(run, agent, capture(agent.checkpoint))
        assert candidates.samples is not None
        _, h, c = candidates.samples
        assert (h.shape, c.shape) == ((100, 2, 12), (100, 2, 12))
        assert not h[0].any()
        assert h[1:].any(axis=(1, 2)).all()
        candidates.build([(LABEL, 1)], within(120.0))
        built = candidates.build_one(LABEL)
        assert built.status == "verified", built.reason
        assert built.verification is not None
        assert built.verification.steps == 60 + 256
        assert candidates.observations(1)[1].shape == (256, 2, 12)
    with make_run(events) as run:
        again = CandidateSet(run, agent, capture(agent.checkpoint))
        again.build([(LABEL, 1)], within(0.1))  # no time to build: it must be known
        assert again.build_one(LABEL).verification == built.verification
        other = replace(agent, samples=None)
        assert CandidateSet(run, other, capture(agent.checkpoint)).samples is None


def test_samples_need_every_observation(tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", h=np.zeros((3, 2, 12), np.float32), c=np.zeros((3, 2, 12), np.float32))
    with pytest.raises(SamplesError, match="no samples for input 'obs'"):
        load_samples(tmp_path / "s.npz", opened(tmp_path).checkpoint.observed)
