"""An artifact is built again from its recipe: the same bytes, or what differs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from grandopt.artifacts.artifact import read
from grandopt.config.schema import AgentConfig, Job
from grandopt.reporting.report import load_report
from grandopt.workflows.job import Stages, running
from grandopt.workflows.open_agents import open_agents
from grandopt.workflows.optimize import ship
from grandopt.workflows.reproduce.recorded import Recorded, Substitutes, recorded_in
from grandopt.workflows.reproduce.reproduce import Wanted, reproduce
from grandopt.workflows.selection.candidate_set import prepare_candidates
from grandopt.workflows.selection.recipe import build_recipe, recipe
from tests.small_agents import EXAMPLES, Policy
from tests.workflows.command import run

pytestmark = pytest.mark.slow
UNMEASURED = Wanted(measure=False)


def save(path: Path, seed: int) -> None:
    """A policy with weights of a seed, as a TorchScript archive, which says all but its inputs."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = Policy().eval()
    example = torch.as_tensor(EXAMPLES[Policy]["state"])
    torch.jit.save(torch.jit.trace(module, (example,)), path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that optimized `gate.pt`."""
    folder = tmp_path_factory.mktemp("run")
    save(folder / "gate.pt", seed=3)
    options = ("--input", "state=8", "--profile", "basic", "--engine", "torchscript", "--budget", "10")
    done = run(folder, "optimize", "gate.pt", *options, "-q")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def recorded(folder: Path) -> Recorded:
    (found,) = recorded_in(folder / "artifacts" / "gate")
    assert isinstance(found, Recorded)
    return found


def test_an_artifact_is_reproduced_and_measured_from_anywhere(folder: Path, tmp_path: Path) -> None:
    done = run(tmp_path, "reproduce", folder / "artifacts" / "gate", "--json", "-q")
    assert (done.returncode, done.stderr) == (0, "")
    (agent,) = json.loads(done.stdout)["agents"]
    assert (agent["verdict"], agent["differences"]) == ("reproduced", [])
    assert agent["payload"] == agent["payload_files"] > 0
    assert agent["answers"]["identical"] == agent["answers"]["observations"] == 256
    assert agent["remeasured"]["same_machine"] is True
    assert agent["remeasured"]["pace"]["value"] > 0
    assert list(tmp_path.iterdir()) == []


def test_the_report_carries_the_same_recipe(folder: Path, recorded: Recorded) -> None:
    report = load_report(folder / "reports" / "optimization_report.json")
    assert report.agents[0].recipe == recorded.recipe
    assert recorded.recipe.checkpoint is not None
    assert recorded.recipe.command[:3] == ("-c", "optimize", "gate.pt")
    (of_report,) = recorded_in(folder / "reports" / "optimization_report.json")
    assert isinstance(of_report, Recorded)
    assert of_report.artifact == recorded.artifact


def test_another_checkpoint_is_said_and_by_how_much_it_answers_otherwise(
    recorded: Recorded, tmp_path: Path
) -> None:
    save(tmp_path / "other.pt", seed=4)
    found = reproduce(recorded, Wanted(Substitutes(checkpoint=tmp_path / "other.pt"), measure=False))
    assert found.verdict == "differs"
    whats = [difference.what for difference in found.differences]
    assert whats[:2] == [f"checkpoint {tmp_path / 'other.pt'}", "network and weights"]
    assert any(what.startswith("payload ") for what in whats)
    assert found.answers is not None
    assert found.answers.identical == 0
    assert found.answers.relative_l2 is not None
    assert found.answers.relative_l2 > 0.01


def test_what_was_recorded_on_another_machine_is_named(recorded: Recorded) -> None:
    then = recorded.recipe.machine
    elsewhere = then.model_copy(
        update={"libraries": then.libraries | {"torch": "2.12.0", "gone": "1.0"}, "cpu_model": "another CPU"}
    )
    other = replace(recorded, recipe=recorded.recipe.model_copy(update={"machine": elsewhere}))
    found = reproduce(other, UNMEASURED)
    assert found.verdict == "reproduced"  # what came out is the same all the same
    assert [(difference.what, difference.then) for difference in found.differences] == [
        ("cpu model", "another CPU"),
        ("gone", "1.0"),
        ("torch", "2.12.0"),
    ]


def test_without_its_checkpoint_it_cannot_be_done(recorded: Recorded) -> None:
    gone = recorded.recipe.model_copy(update={"folder": "/nowhere"})
    found = reproduce(replace(recorded, recipe=gone), UNMEASURED)
    assert found.verdict == "cannot"
    assert "checkpoint: gate.pt: no such file" in str(found.reason)


def test_the_exit_codes_say_how_it_ended(folder: Path, tmp_path: Path) -> None:
    save(tmp_path / "other.pt", seed=4)
    place = folder / "artifacts" / "gate"
    done = run(tmp_path, "reproduce", place, "--checkpoint", "other.pt", "--no-measure", "-q")
    assert (done.returncode, done.stderr) == (1, "")
    assert "gate: differs" in done.stdout
    assert "answers: other bits for 256 of 256 observations, largest difference" in done.stdout
    done = run(tmp_path, "reproduce", place, "--checkpoint", "none.pt", "-q")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "checkpoint: none.pt: no such file" in done.stderr


def test_an_original_kept_as_a_pickle_is_compared_by_network_and_answers(
    recorded: Recorded, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)

    job = Job(
        agents={"lvn": AgentConfig(reference="lvn_embedder")}, profile=recorded.profile, output=tmp_path
    )
    (opened,) = open_agents(job)
    with running(job, tmp_path / "store", lambda event: None) as started:
        candidate_set = prepare_candidates(started.at(0), opened, Stages())
        written = recipe(started, opened, build_recipe(candidate_set, candidate_set.original))
        ship(
            candidate_set.artifact(candidate_set.original),
            tmp_path / "lvn",
            "lvn",
            {"recipe": written.model_dump(mode="json")},
        )
    assert read(tmp_path / "lvn").manifest.trusted_only
    (kept,) = recorded_in(tmp_path / "lvn")
    assert isinstance(kept, Recorded)
    trusting = reproduce(kept, Wanted(trust=True, measure=False))
    assert (trusting.verdict, trusting.label) == ("reproduced", "original")
    assert trusting.answers is not None
    assert trusting.answers.identical == trusting.answers.observations
    careful = reproduce(kept, UNMEASURED)
    assert careful.answers is None
    assert "trust=True" in str(careful.no_answers)
    if trusting.payload < trusting.payload_files:
        assert careful.verdict == "differs"  # nothing then says that it is the same
