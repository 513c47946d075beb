"""On what grounds an agent may be built at reduced precision: from its files to its verdicts."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

from grandopt.artifacts.store import Store
from grandopt.compiler import build
from grandopt.compiler.backends.float64 import reference
from grandopt.compiler.checkpoints import detect
from grandopt.compiler.checkpoints import reference as agents
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.config.profiles import PROFILES
from grandopt.config.schema import AgentConfig
from grandopt.reporting.admission import evidence_words
from grandopt.runtime.loader import load
from grandopt.signature import Array, Moments
from grandopt.verification.episodes import with_states
from grandopt.verification.oracle import Oracle
from grandopt.workflows.building.built import BuildInputs, BuiltCandidate, build_and_verify, question_digest
from grandopt.workflows.open_agents import OpenedAgent
from grandopt.workflows.records import evidence_report
from grandopt.workflows.selection.input_evidence import calibration, known_of_inputs, oracle_of
from tests.small_agents import Policy

REDUCED = ("bfloat16", "int8_dynamic")


class Constant(nn.Module):
    """Gives the same for every input."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 3)

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.layer(state) * 0 - 1) + self.layer.bias


class Far(nn.Module):
    """Fires only where all inputs are around 9."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(8, 32), nn.Linear(32, 3)
        with torch.no_grad():
            self.layer.weight.abs_()
            self.layer.bias.fill_(-9.0)

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.layer(state)))


class Judge:
    """One agent up to its verdicts, in this process and without measuring."""

    def __init__(self, checkpoint: Checkpoint, store: Store, samples: Array | None = None) -> None:
        given = None if samples is None else (samples,)
        self.opened = OpenedAgent("agent", AgentConfig(checkpoint=Path("agent")), checkpoint, samples=given)
        self.program, self.store = build.capture(checkpoint, 0), store
        self.evidence = known_of_inputs(self.opened)
        executor = load(build.original(self.program, store).path, trust=True)
        recorded = None if given is None else with_states(executor, given)
        self.oracle: Oracle = oracle_of(
            self.evidence,
            self.program,
            reference(self.program),
            executor,
            recorded,
            0,
            observed=given,
            declared=bool(checkpoint.output_roles) or self.program.contract.action != "none",
        )
        self.calibration = calibration(self.evidence, self.program, recorded, 0)
        self.candidates = {
            candidate.label: candidate
            for candidate in build.candidates(
                self.program, ("native",), REDUCED, samples=given is not None, evidence=self.evidence.there
            )
        }

    def builds(self) -> list[BuiltCandidate]:
        agent = BuildInputs(
            self.program,
            self.oracle,
            self.candidates,
            PROFILES["aggressive"].limits,
            question_digest(self.oracle),
            self.calibration,
        )
        return [build_and_verify(agent, candidate, self.store, 1) for candidate in self.candidates.values()]


def seeded(kind: type[nn.Module], **changes: object) -> Checkpoint:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        checkpoint = from_module("agent", kind(), torch.zeros(1, 8))
    return replace(checkpoint, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("grounds") / "store")


def test_without_evidence_candidates_keep_their_first_layers_and_nothing_is_calibrated(store: Store) -> None:
    judge = Judge(seeded(Policy), store)
    assert judge.evidence.kind == "none"
    assert all(candidate.inputs_float32 for candidate in judge.candidates.values())
    assert judge.calibration is None
    report = evidence_report(judge.oracle)
    assert report.kind == "none"
    assert len(report.populations) == 12
    assert (report.units, report.units_changed) == (16, 16)
    assert (report.outputs, report.outputs_changed) == (3, 3)
    assert "held to the limits on 12 kinds of draws; 16 of 16 units changed" in evidence_words(report)


def test_recorded_observations_are_evidence_and_calibrate(store: Store) -> None:
    samples = np.random.default_rng(0).normal(size=(100, 8)).astype(np.float32)
    judge = Judge(seeded(Policy), store, samples)
    assert judge.evidence.kind == "recorded"
    assert judge.oracle.wide is None
    assert judge.calibration is not None
    assert np.array_equal(judge.calibration[0], samples)
    assert not any(candidate.inputs_float32 for candidate in judge.candidates.values())


def test_statistics_of_the_checkpoint_are_evidence_and_calibrate(store: Store) -> None:
    moments = {"input": Moments((1000.0,) * 8, (50.0,) * 8, 10.0)}
    judge = Judge(seeded(Policy, moments=moments), store)
    assert judge.evidence.kind == "statistics"
    assert judge.calibration is not None
    assert judge.calibration[0].mean() == pytest.approx(1000, rel=0.01)
    assert judge.calibration[0].shape == (256, 8)


def test_an_agent_that_fires_far_from_zero_is_drawn_wider(store: Store) -> None:
    judge = Judge(seeded(Far), store)
    exercise = judge.oracle.exercise
    assert exercise is not None
    assert exercise.ordinary_units == exercise.ordinary_outputs == 0
    assert exercise.low
    assert exercise.refusal is None
    assert exercise.units_changed == exercise.units == 32
    assert "ordinary inputs alone exercised too little" in evidence_words(evidence_report(judge.oracle))


@pytest.mark.parametrize("recorded", [False, True])
def test_an_agent_that_nothing_moves_is_not_reduced(store: Store, *, recorded: bool) -> None:
    samples = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32) if recorded else None
    judge = Judge(seeded(Constant), store, samples)
    report = evidence_report(judge.oracle)
    assert report.refusal is not None
    assert report.outputs_changed == 0
    assert "no reduced precision" in evidence_words(report)


def test_a_verdict_is_kept_only_for_the_same_evidence(store: Store) -> None:
    oracle = Judge(seeded(Policy), store).oracle
    other = replace(oracle, evidence=replace(oracle.evidence, kind="bounds"))
    fewer = replace(oracle, wide=None)
    less = replace(oracle, exercise=None)
    assert len({question_digest(item) for item in (oracle, other, fewer, less)}) == 4


@pytest.mark.parametrize("name", ["decision_gate", "lvn_embedder"])
def test_inputs_of_reference_agents_are_bounded_by_definition(store: Store, name: str) -> None:
    judge = Judge(agents.load(name, name, 0), store)
    assert judge.evidence.kind == "bounds"
    assert judge.oracle.wide is not None
    assert judge.oracle.exercise is not None
    assert judge.oracle.exercise.refusal is None


def cases_of(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("int8_ranges", folder / "int8_ranges.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("case", ["one_large_feature", "outlier", "silent_on_draws"])
def test_nothing_that_is_verified_differs_on_the_inputs_that_a_network_is_made_for(
    shared_cases: Path, store: Store, case: str, *, recorded: bool
) -> None:
    with torch.random.fork_rng():
        network, example, inputs = cases_of(shared_cases).CASES[case]()
    own = inputs.numpy()
    judge = Judge(from_module("agent", network, example), store, own if recorded else None)
    with torch.no_grad():
        expected = network(inputs).numpy().argmax(axis=1)
    verified = [built for built in judge.builds() if built.status == "verified"]
    for built in verified:
        assert built.artifact is not None
        executor = load(built.artifact.path, trust=True)
        given = np.concatenate([executor.run((rows,))[0] for rows in np.array_split(own, 40)])
        assert (given.argmax(axis=1) != expected).mean() <= 0.005, built.label
    if recorded:
        assert verified, [built.reason for built in judge.builds()]


@pytest.mark.slow
def test_a_real_policy_is_not_shipped_at_int8_that_few_large_features_break(
    shared_policies: Path, store: Store
) -> None:
    path = shared_policies / "xbot_policy_example.pt"
    network = torch.jit.load(path)
    config = AgentConfig(checkpoint=path, inputs=({"name": "state", "shape": (705,)},))  # type: ignore[arg-type]
    judge = Judge(detect.load("agent", config), store)
    rng = np.random.default_rng(11)
    own = rng.standard_normal((500, 705)).astype(np.float32)
    own[:, rng.permutation(705)[:12]] *= 60
    with torch.no_grad():
        expected = network(torch.from_numpy(own)).numpy()
    for built in judge.builds():
        if built.status != "verified":
            continue
        assert built.artifact is not None
        given = load(built.artifact.path, trust=True).run((own,))[0]
        assert np.linalg.norm(given - expected) <= 0.02 * np.linalg.norm(expected), built.label
