"""Real agents on the native engine: the reference agents, and trained policies against what SB3 predicts."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from grandopt.artifacts.store import Store
from grandopt.compiler.backends.native.passes.pipeline import simplify
from grandopt.compiler.backends.native.translate import translate
from grandopt.compiler.build import Candidate, build
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints import detect
from grandopt.compiler.networks.reference import REFERENCE
from grandopt.compiler.networks.reference import build as reference
from grandopt.config.schema import AgentConfig
from grandopt.runtime.loader import load
from tests.checkpoints.test_sb3_ground_truth import AGENTS, NORMALISED
from tests.native.conftest import BEST, Make

BIG = {"structure_embedder", "tactical_embedder"}
SMALL = {"decision_gate", "shared_policy", "regime_embedder"}
"""Those that the fast tests build: attention, norms, products and what stands between them."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=pytest.mark.stress if name in BIG else () if name in SMALL else pytest.mark.slow
        )
        for name in REFERENCE
    ],
)
def test_reference_agents_are_as_exact_as_torch(native: Make, name: str) -> None:
    network = reference(name)
    shapes = [spec.shape for spec in REFERENCE[name].inputs]
    executor = native(network, *(torch.zeros(2, *shape) for shape in shapes), name=name)
    exact = copy.deepcopy(network).double()
    random = np.random.default_rng(5)
    for batch in (1, 2, 11):
        inputs = [random.standard_normal((batch, *shape)).astype(np.float32) for shape in shapes]
        got = executor.run(inputs)
        tensors = [torch.from_numpy(array) for array in inputs]
        close = _tuple(network(*tensors))
        wanted = _tuple(exact(*(tensor.double() for tensor in tensors)))
        for mine, torchs, real in zip(got, close, wanted, strict=True):
            allowed = 4 * np.abs(torchs.numpy() - real.numpy()).max() + 1e-6 * np.abs(real.numpy()).max()
            assert np.abs(mine - real.numpy()).max() <= allowed


def _tuple(value: object) -> tuple[torch.Tensor, ...]:
    return value if isinstance(value, tuple) else (value,)  # type: ignore[return-value]


ONE_OF_EACH_KIND = (
    "a2c-Hopper-v3",
    "ars-CartPole-v1",
    "ppo-CartPole-v1",
    "qrdqn-CartPole-v1",
    "tqc-PandaReach-v1",
)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in ONE_OF_EACH_KIND else pytest.mark.slow) for name in AGENTS],
)
def test_sb3_policies_act_as_in_sb3(shared_checkpoints: Path, tmp_path: Path, name: str) -> None:
    folder = shared_checkpoints / "sb3"
    normalised = name in NORMALISED and name != "tqc-PandaReach-v1"  # recorded without raw observations
    config = AgentConfig(checkpoint=folder / f"{name}.zip", vecnormalize="auto" if normalised else "none")
    checkpoint = detect.load(name, config)
    artifact = build(capture(checkpoint, 0), Candidate("float32", BEST), Store(tmp_path))
    executor = load(artifact.path)
    with np.load(folder / f"{name}.expected.npz") as file:
        expected = dict(file)
    kind = "raw_obs" if normalised else "obs"
    names = [f"{kind}.{spec.name}" if len(checkpoint.inputs) > 1 else kind for spec in checkpoint.inputs]
    inputs = [expected[key].astype(spec.dtype) for key, spec in zip(names, checkpoint.inputs, strict=True)]
    together = executor(*inputs)
    alone = np.stack([executor(*(array[row] for array in inputs)) for row in range(inputs[0].shape[0])])
    contract = checkpoint.contract
    for action in (together, alone):
        if contract.action == "argmax":
            np.testing.assert_array_equal(action, expected["action"])
        else:
            assert contract.low is not None
            assert contract.high is not None
            span = np.subtract(contract.high, contract.low)
            assert (np.abs(action - expected["action"]) <= 1e-4 * span).all()


def test_the_form_of_the_decision_gate_has_no_loop_of_its_own_for_activations() -> None:
    """What the passes leave: each product or norm with its activation inside, no loop of its own."""
    program = capture_of("decision_gate")
    graph = simplify(translate("gate", program))
    kinds = [type(op).__name__ for op in graph.ops]
    assert kinds == ["Linear", "Normalize", "Linear", "Normalize", "Linear", "Softmax"]


def capture_of(name: str) -> torch.export.ExportedProgram:
    network = reference(name)
    inputs = tuple(torch.zeros(2, *spec.shape) for spec in REFERENCE[name].inputs)
    batch = torch.export.Dim("batch")
    return torch.export.export(network, inputs, dynamic_shapes=tuple({0: batch} for _ in inputs))
