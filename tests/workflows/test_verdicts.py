"""Agents for which there is nothing to gain, or something wrong among the candidates.

A wrong or slow candidate is planted by putting its artifact into the store, under the key of the right one,
before the run: the run takes it for what it built itself.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import grandopt
from grandopt.artifacts.store import Store
from grandopt.compiler import build
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.compiler.program import Program
from grandopt.config.load import Overrides, resolve
from grandopt.config.schema import AgentConfig, FileConfig
from grandopt.errors import ArtifactError
from grandopt.reporting.report import AgentReport, CandidateReport
from grandopt.runtime.loader import load
from grandopt.workflows.events import Event
from grandopt.workflows.job import running
from grandopt.workflows.open_agents import OpenedAgent
from grandopt.workflows.selection.candidate_set import CandidateSet
from tests.small_agents import Branching, Policy
from tests.workflows import command

NAME = "agent"


class Delayed(nn.Module):
    """The same numbers, after many steps that change nothing and that no compiler is allowed to drop."""

    def __init__(self, network: nn.Module, steps: int = 150) -> None:
        super().__init__()
        self.network = network
        self.steps = steps

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        for _ in range(self.steps):
            state = torch.maximum(state, state)
        result: torch.Tensor = self.network(state)
        return result


def _seeded(kind: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return kind().eval()


def _program(module: nn.Module) -> Program:
    return build.capture(from_module(NAME, module, torch.zeros(2, 8)), 0)


def _plant(folder: Path, module: nn.Module, false: nn.Module, engines: tuple[str, ...]) -> None:
    """Put what is built from `false` into the store where the candidates of `module` belong."""
    right, wrong = _program(module), _program(false)
    store, elsewhere = Store(folder / ".grandopt" / "store"), Store(folder / "elsewhere")
    for candidate in build.candidates(right, engines, ("float32",)):
        made = build.build(wrong, candidate, elsewhere)
        store.put(build.key(right, candidate), made.manifest, made.payloads())


def _row(agent: AgentReport, label: str) -> CandidateReport:
    return next(row for row in agent.candidates if row.label == label)


@pytest.mark.slow
def test_a_branch_on_data_is_named_and_the_original_is_shipped(tmp_path: Path) -> None:
    module = _seeded(Branching)
    found = grandopt.optimize(
        module, torch.zeros(2, 4), name=NAME, profile="basic", output=tmp_path, budget_s=20.0
    )
    (agent,) = command.report(tmp_path).agents
    assert agent == found.agent
    assert agent.status == "original kept"
    assert str(agent.reason).startswith(
        "nothing could be built: agent: not exported: the network's control flow"
    )
    assert [refusal.stage for refusal in agent.refusals] == ["export"]
    assert "the network's control flow depends on the data (small_agents.py:" in agent.refusals[0].reason
    traced = _row(agent, "torchscript/float32")
    assert traced.status == "failed"
    assert "the trace gives other outputs than the original on" in str(traced.reason)
    assert "not traced" in str(traced.reason)
    log = (tmp_path / "reports" / "optimization.log").read_text("utf-8").splitlines()
    assert log[0].endswith(" info - - grandopt.optimize agent")
    assert any(f"warning agent capture export: {agent.refusals[0].reason}" in line for line in log)
    with pytest.raises(ArtifactError, match="trust=True"):
        load(found.path)
    policy = load(found.path, trust=True)
    for state in (np.full(4, 1, np.float32), np.full(4, -1, np.float32)):  # both branches
        with torch.no_grad():
            wanted = module(torch.from_numpy(state)[None])[0].numpy()
        np.testing.assert_array_equal(policy(state), wanted)


def _perturbed(module: nn.Module) -> nn.Module:
    """A copy with every weight changed by up to a thousandth of itself."""
    wrong = copy.deepcopy(module)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in wrong.parameters():
            weight *= 1 + 1e-3 * (2 * torch.rand(weight.shape, generator=generator) - 1)
    return wrong


def test_a_planted_wrong_candidate_does_not_pass_verification(tmp_path: Path) -> None:
    module = _seeded(Policy)
    _plant(tmp_path, module, _perturbed(module), ("eager",))
    checkpoint = from_module(NAME, module, torch.zeros(2, 8))
    config = AgentConfig(checkpoint=Path("memory"))
    job = resolve(FileConfig(), {NAME: config}, Overrides(profile="basic", output=tmp_path))
    events: list[Event] = []
    with running(job, tmp_path / ".grandopt" / "store", events.append) as run:
        candidate_set = CandidateSet(run, OpenedAgent(NAME, config, checkpoint), build.capture(checkpoint, 0))
        right, wrong = (
            candidate_set.build_one("torchscript/float32"),
            candidate_set.build_one("eager/float32"),
        )
        assert candidate_set.build_one("eager/float32") is wrong
    assert (right.status, right.reason) == ("verified", None)
    assert wrong.status == "refused"
    assert "times the limit" in str(wrong.reason)
    assert [event.message for event in events if "refused" in event.message] == [
        f"eager/float32 refused: {wrong.reason}"
    ]


@pytest.mark.slow
def test_a_planted_wrong_candidate_is_in_the_report_and_not_shipped(tmp_path: Path) -> None:
    module = _seeded(Policy)
    _plant(tmp_path, module, _perturbed(module), ("eager",))
    found = grandopt.optimize(
        module,
        torch.zeros(2, 8),
        name=NAME,
        profile="basic",
        engines=("eager", "torchscript"),  # what the native engine outpaces would not be looked at
        output=tmp_path,
        budget_s=30.0,
    )
    (agent,) = command.report(tmp_path).agents
    planted = _row(agent, "eager/float32")
    assert planted.status == "refused"
    assert "times the limit" in str(planted.reason)
    assert planted.verification is not None
    assert planted.verification["passed"] is False
    (output,) = planted.verification["outputs"]
    assert output["error"] > 10 * output["limit"] > 0
    # What is shipped instead is the agent itself.
    assert agent.shipped is not None
    assert agent.shipped.engine != "eager" or agent.shipped.label == "original"
    states = np.random.default_rng(0).standard_normal((64, 8)).astype(np.float32)
    with torch.no_grad():
        wanted = module(torch.from_numpy(states)).numpy()
    np.testing.assert_allclose(found.load()(states), wanted, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_where_nothing_is_faster_the_original_is_kept(tmp_path: Path) -> None:
    module = _seeded(Policy)
    _plant(tmp_path, module, Delayed(module), ("eager", "torchscript"))
    planted = ("eager", "torchscript")
    found = grandopt.optimize(
        module,
        torch.zeros(2, 8),
        name=NAME,
        profile="basic",
        budget_s=20.0,
        engines=planted,
        output=tmp_path,
    )
    (agent,) = command.report(tmp_path).agents
    assert agent.status == "original kept"
    assert str(agent.reason).startswith("nothing was faster: the best, ")
    assert {row.status for row in agent.candidates} <= {"slower", "pruned", "not measured"}
    final = [row for row in agent.candidates if row.speedup is not None]
    assert final
    assert all(row.speedup is not None and row.speedup.high < 1 for row in final)
    assert agent.shipped is not None
    assert (agent.shipped.label, agent.speedup) == ("original", None)
    assert found.load()(np.zeros(8, np.float32)).shape == (3,)
