"""Each engine computes what the original computes: reference agents and real zips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints import detect
from grandopt.config.agents import REFERENCE_AGENTS
from grandopt.config.engines import EngineOptions, InductorOptions, OnnxRuntimeOptions, OpenVinoOptions
from grandopt.config.schema import AgentConfig
from grandopt.runtime.loader import load
from tests.engines.conftest import agent, need
from tests.small_agents import draw, expected

# OpenVINO 2026.4 generates a wrong kernel for the attention of shared_policy at batch 1 (see `known_defect`);
# verification finds it, and `snippets=False` is the candidate for such a network.
OPTIONS: tuple[EngineOptions, ...] = (OnnxRuntimeOptions(), OpenVinoOptions(snippets=False))
INDUCTOR: tuple[EngineOptions, ...] = (InductorOptions(), InductorOptions(gemm="library", single=True))
CASES = [
    *(pytest.param(options, id=options.engine) for options in OPTIONS),
    *(
        pytest.param(options, id=f"inductor-{options.gemm}", marks=pytest.mark.stress)
        for options in INDUCTOR
        if isinstance(options, InductorOptions)
    ),
]
LARGE = ("structure_embedder", "tactical_embedder")
ZIPS = ("a2c-Hopper-v3", "dqn-CartPole-v1", "ppo-LunarLander-v2", "sac-Pendulum-v1", "tqc-PandaReach-v1")


@pytest.mark.parametrize("options", CASES)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.stress if name in LARGE else pytest.mark.slow)
        for name in REFERENCE_AGENTS
    ],
)
def test_reference_agents(store: Store, name: str, options: EngineOptions) -> None:
    need(options.engine)
    of = agent(name)
    executor = load(build(of, Candidate("float32", options), store).path)
    for batch in (1, 2, 5):
        inputs = draw(of, batch, seed=batch)
        for got, want in zip(executor.run(inputs), expected(of, inputs), strict=True):
            assert got.shape == want.shape
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=2e-6)


def _zips() -> list[object]:
    """One that chooses and one that acts continuously are fast, each with both engines."""
    both = ("dqn-CartPole-v1", "sac-Pendulum-v1")
    return [
        *(
            pytest.param(
                name, options, id=f"{name}-{options.engine}", marks=() if name in both else pytest.mark.slow
            )
            for options in OPTIONS[:2]
            for name in ZIPS
        ),
        *(
            pytest.param(name, options, id=f"{name}-{options.engine}-{number}", marks=pytest.mark.stress)
            for number, options in enumerate(INDUCTOR)
            for name in ZIPS
        ),
    ]


@pytest.mark.parametrize(("name", "options"), _zips())
def test_real_zips(shared_checkpoints: Path, store: Store, name: str, options: EngineOptions) -> None:
    need(options.engine)
    path = shared_checkpoints / "sb3" / f"{name}.zip"
    of = capture(detect.load(name, AgentConfig(checkpoint=path, vecnormalize="none")))
    executor = load(build(of, Candidate("float32", options), store).path)
    with np.load(shared_checkpoints / "sb3" / f"{name}.expected.npz") as file:
        recorded = dict(file)
    several = len(of.signature.inputs) > 1
    names = [f"obs.{spec.name}" for spec in of.signature.inputs] if several else ["obs"]
    observations = [recorded[key].astype(np.float32) for key in names]
    wanted = recorded["action"]
    singly = [executor.run([array[row : row + 1] for array in observations])[0][0] for row in range(32)]
    for got, want in ((executor.run(observations)[0], wanted), (np.stack(singly), wanted[:32])):
        if of.contract.action == "argmax":
            np.testing.assert_array_equal(got, want)
        else:
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
