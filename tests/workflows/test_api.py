"""From Python: a module in memory becomes an artifact that answers like it."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import grandopt
from grandopt.errors import CheckpointError, ConfigError, InputError, SamplesError, SignatureError
from grandopt.measurement.environment import available_cores
from grandopt.workflows.exporting.program import carried
from tests.checkpoints.onnx import models


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(12, 32), nn.Tanh(), nn.Dropout(0.5), nn.Linear(32, 4))


@pytest.fixture(scope="module")
def optimized(tmp_path_factory: pytest.TempPathFactory) -> grandopt.Optimized:
    output = tmp_path_factory.mktemp("api")
    return grandopt.optimize(
        network(),
        torch.zeros(1, 12),
        name="gate",
        profile="basic",
        engines=["native"],
        output=output,
        budget_s=2.0,
    )


@pytest.mark.slow
def test_the_artifact_answers_like_the_module_in_eval_mode(optimized: grandopt.Optimized) -> None:
    observations = torch.randn(5, 12)
    with torch.inference_mode():
        expected = network().eval()(observations).numpy()
    policy = grandopt.load(optimized.path, trust=True)
    np.testing.assert_allclose(policy(observations.numpy()), expected, atol=1e-6)
    one = policy(observations[0])
    assert isinstance(one, torch.Tensor)
    np.testing.assert_allclose(one.numpy(), expected[0], atol=1e-6)


@pytest.mark.slow
def test_what_is_shipped_carries_its_program(optimized: grandopt.Optimized) -> None:
    observations = torch.randn(5, 12)
    with torch.inference_mode():
        expected = network().eval()(observations)
        found = carried(optimized.path).module(observations)
    torch.testing.assert_close(found, expected)


@pytest.mark.slow
def test_the_result_is_called_like_the_policy_and_loaded_once(optimized: grandopt.Optimized) -> None:
    observations = np.random.default_rng(0).normal(size=(5, 12)).astype(np.float32)
    policy = grandopt.load(optimized.path, trust=True)
    fresh = pickle.loads(pickle.dumps(optimized))
    with ThreadPoolExecutor(8) as threads:
        loaded = list(threads.map(lambda _: fresh.policy, range(64)))
    assert len(set(map(id, loaded))) == 1
    np.testing.assert_array_equal(fresh(observations), policy(observations))
    assert isinstance(fresh(torch.from_numpy(observations[0])), torch.Tensor)
    out = np.empty((5, 4), np.float32)
    fresh.run_into((observations,), (out,))
    np.testing.assert_array_equal(out, policy(observations))
    out[...] = 0
    fresh.bind((observations,), (out,))()
    np.testing.assert_array_equal(out, policy(observations))
    assert fresh.signature == policy.signature
    with pytest.raises(SignatureError):
        fresh(np.zeros(11, np.float32))


@pytest.mark.parametrize("threads", [9999, available_cores() + 1])
def test_more_threads_than_the_machine_grants_are_refused(tmp_path: Path, threads: int) -> None:
    with pytest.raises(ConfigError, match=rf"{threads} are asked for, .* grants {available_cores()}"):
        grandopt.optimize(network(), torch.zeros(1, 12), output=tmp_path, threads=threads)
    assert not any(tmp_path.iterdir()), "nothing is written before"


@pytest.mark.slow
def test_a_script_module_is_optimized_like_its_archive(tmp_path: Path) -> None:
    model = torch.jit.script(network().eval())
    result = grandopt.optimize(
        model, torch.zeros(1, 12), profile="basic", engines=["native"], output=tmp_path, budget_s=60.0
    )
    assert result.agent.status == "optimized"
    assert result.agent.source is not None
    assert result.agent.source.weights == "memory"
    observations = torch.randn(5, 12)
    with torch.inference_mode():
        torch.testing.assert_close(result(observations), model(observations))


@pytest.mark.slow
def test_the_record_and_the_files_agree(optimized: grandopt.Optimized) -> None:
    assert optimized.agent.status in ("optimized", "original kept")
    assert optimized.path == Path(optimized.path.parents[1] / "artifacts" / "gate")
    assert optimized.report.status == "complete"
    assert optimized.agent.source is not None
    assert optimized.agent.source.weights == "memory"
    assert optimized.agent.parameters == 12 * 32 + 32 + 32 * 4 + 4
    manifest = optimized.load().signature
    assert manifest.inputs[0].shape == (12,)


@pytest.mark.slow
def test_the_callers_module_stays_as_it_is(tmp_path: Path) -> None:
    model = network().train()
    before = copy.deepcopy(model.state_dict())
    grandopt.optimize(model, np.zeros((2, 12), np.float32), profile="basic", output=tmp_path, budget_s=1)
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.slow
def test_a_module_of_main_that_no_file_defines_can_be_measured(tmp_path: Path) -> None:
    class Local(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, value: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.layer(value))

    result = grandopt.optimize(Local(), torch.zeros(1, 3), profile="basic", output=tmp_path, budget_s=5)
    assert result.agent.original is not None
    assert result.load()(np.zeros(3, np.float32)).shape == (2,)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"model": "not a file", "example_input": None}, CheckpointError, "not a file: no such file"),
        ({"example_input": np.float32(1)}, SignatureError, "needs a batch dimension"),
        ({"example_input": ()}, SignatureError, "holds no input"),
        ({"example_input": torch.zeros(1, 11)}, InputError, "11"),
        ({"name": "../gate"}, ConfigError, "agent name '../gate' may hold only"),
        ({"profile": "fast"}, ConfigError, "unknown profile 'fast'"),
        ({"samples": "none.npz"}, SamplesError, "none.npz"),
    ],
)
def test_wrong_arguments_are_one_clear_line(
    tmp_path: Path, changes: dict[str, object], error: type[Exception], words: str
) -> None:
    arguments = {
        "model": network(),
        "example_input": torch.zeros(1, 12),
        "name": "gate",
        "profile": "basic",
        "output": tmp_path,
        **changes,
    }
    with pytest.raises(error, match=words) as caught:
        grandopt.optimize(**arguments)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "artifacts").exists() or not list((tmp_path / "artifacts").iterdir())


@pytest.mark.slow
def test_a_file_that_says_what_it_takes_needs_no_example(tmp_path: Path) -> None:
    made = models.sequential(nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)))
    path = models.save(made, tmp_path / "policy.onnx")
    result = grandopt.optimize(str(path), profile="basic", engines=["native"], output=tmp_path, budget_s=2)
    given = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    assert result.path.name == "policy"
    np.testing.assert_allclose(result(given), models.answers(made, state=given)["scores"], atol=1e-6)


def test_an_example_beside_a_file_that_says_what_it_takes_is_refused(tmp_path: Path) -> None:
    made = models.sequential(nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)))
    path = models.save(made, tmp_path / "policy.onnx")
    given = np.zeros((3, 4), np.float32)
    with pytest.raises(ConfigError, match="leave 'example_input' out"):
        grandopt.optimize(path, given, output=tmp_path)
    with pytest.raises(CheckpointError, match="no such file"):
        grandopt.optimize(tmp_path / "none.onnx", output=tmp_path)
