"""The eight reference agents: reproducible, of the declared shapes, and the same for every batch size."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from grandopt.compiler.checkpoints import reference as checkpoints
from grandopt.compiler.networks.reference import REFERENCE, YARDSTICKS, build
from grandopt.compiler.program import evaluate
from grandopt.config.agents import REFERENCE_AGENTS
from grandopt.config.agents import YARDSTICKS as YARDSTICK_NAMES
from grandopt.errors import ConfigError

NAMES = sorted(REFERENCE)

# Weights and biases added up by hand from the table of the design's section 5.
PARAMETERS = {
    "tactical_system": 3 * (420 + 420 * 128 + 128 + 128 * 3 + 3) + 420 * 128 + 128 + 128 + 1,
    "decision_gate": (152 * 64 + 64) + 2 * 64 + (64 * 32 + 32) + 2 * 32 + (32 * 2 + 2),
    "regime_embedder": (8 * 32 + 32) + 16 * 32 + (32 * 16 + 16) + 2 * 16,
    "lvn_embedder": (5 * 16 + 16) + 2 * 16 + (16 * 8 + 8) + 2 * 8,
}


def inputs(name: str, batch: int, seed: int = 1) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(batch, *spec.shape, generator=generator) for spec in REFERENCE[name].inputs)


def test_the_networks_are_those_that_the_configuration_names() -> None:
    assert set(REFERENCE) == set(REFERENCE_AGENTS)
    assert REFERENCE["lvn_embedder"].targets.latency_ms == 0.5
    assert REFERENCE["lvn_embedder"].targets.throughput == 1500


def test_the_names_are_known_without_torch() -> None:
    code = "import sys, grandopt.config.agents as a; print(len(a.REFERENCE_AGENTS), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["8", "False"]


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_decides_the_weights_whatever_the_callers_random_state(name: str) -> None:
    torch.manual_seed(1)
    first = build(name, seed=5).state_dict()
    torch.manual_seed(2)
    torch.rand(3)
    second, other = build(name, seed=5).state_dict(), build(name, seed=6).state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_building_leaves_the_callers_random_state_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    build("lvn_embedder")
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize("name", NAMES)
def test_networks_come_ready_for_inference(name: str) -> None:
    network = build(name)
    assert not any(layer.training for layer in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_parameter_counts_follow_from_the_design(name: str) -> None:
    assert sum(parameter.numel() for parameter in build(name).parameters()) == PARAMETERS[name]


def test_the_tactical_embedder_has_about_three_million_parameters() -> None:
    count = sum(parameter.numel() for parameter in build("tactical_embedder").parameters())
    assert 2.8e6 < count < 3.2e6


@pytest.mark.parametrize("name", NAMES)
def test_a_row_does_not_depend_on_the_batch_it_is_in(name: str) -> None:
    network, batch = build(name), inputs(name, 7)
    together = evaluate(network, batch)
    for row in range(7):
        alone = evaluate(network, [value[row : row + 1] for value in batch])
        for whole, single in zip(together, alone, strict=True):
            torch.testing.assert_close(whole[row : row + 1], single, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_what_the_agent_declares(name: str) -> None:
    agent, outputs = REFERENCE[name], evaluate(build(name), inputs(name, 3))
    assert len(outputs) == len(agent.outputs) == len(agent.output_names) == len(agent.output_roles)
    for (label, role), output in zip(agent.outputs, outputs, strict=True):
        assert output.shape[0] == 3
        assert output.isfinite().all()
        assert output.std() > 0
        if role == "scores":
            torch.testing.assert_close(output.sum(-1), torch.ones(3))
        if label == "sigma":
            assert (output > 0).all()


def test_every_input_reaches_every_output() -> None:
    for name in NAMES:
        network = build(name)
        values = [value.requires_grad_() for value in inputs(name, 2)]
        result = network(*values)
        for output in result if isinstance(result, tuple) else (result,):
            weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(0))
            gradients = torch.autograd.grad(
                (output * weights).sum(), values, retain_graph=True, allow_unused=True
            )
            assert any(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients), name


def test_an_unknown_name_gets_the_nearest_suggested() -> None:
    with pytest.raises(
        ConfigError, match="unknown reference agent 'tactical_sytem'; did you mean 'tactical_system'"
    ):
        build("tactical_sytem")
    with pytest.raises(ConfigError, match=r"choose one of .*lvn_embedder"):
        build("qqq")


def test_a_reference_checkpoint_says_that_nobody_trained_it() -> None:
    checkpoint = checkpoints.load("mine", "strategic_system", seed=4)
    assert checkpoint.name == "mine"
    assert checkpoint.source.weights == "seeded"
    assert checkpoint.source.details == {"reference": "strategic_system", "seed": 4}
    assert [spec.shape for spec in checkpoint.inputs] == [(4,), (6,), (3,)]
    assert checkpoint.output_roles == ("scores", "scores", "scores", "value")
    expected = build("strategic_system", 4).state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in checkpoint.module.state_dict().items())


def test_the_yardsticks_are_those_that_the_configuration_names() -> None:
    assert tuple(YARDSTICKS) == YARDSTICK_NAMES
    assert not set(YARDSTICKS) & set(REFERENCE)


def test_the_nature_cnn_is_that_of_the_paper() -> None:
    network = build("nature_cnn")
    # Convolutions of 8, 4 and 3, then 3136 features: added up by hand.
    convolutions = (4 * 64 + 1) * 32 + (32 * 16 + 1) * 64 + (64 * 9 + 1) * 64
    assert sum(item.numel() for item in network.parameters()) == convolutions + 3137 * 512 + 513 * 6
    frames = torch.rand(3, *YARDSTICKS["nature_cnn"].inputs[0].shape)
    assert network(frames).shape == (3, 6)


def test_the_null_agent_copies() -> None:
    state = torch.rand(2, 8)
    copy = build("null")(state)
    assert torch.equal(copy, state)
    assert copy.data_ptr() != state.data_ptr()
