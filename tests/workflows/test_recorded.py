"""What was recorded is found again, and what stands in the way is named."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from grandopt.artifacts.artifact import write
from grandopt.artifacts.manifest import Manifest, Source
from grandopt.compiler.checkpoints.folder import sha256
from grandopt.config.profiles import PROFILES
from grandopt.config.schema import AgentConfig
from grandopt.errors import ArtifactError, CheckpointError, ReportError
from grandopt.reason import ReasonCode
from grandopt.reporting.recipe import BuildRecipe, FileDigest, Recipe
from grandopt.reporting.report import write_report
from grandopt.workflows.reproduce.recorded import (
    Recorded,
    Substitutes,
    Unrecorded,
    found_files,
    recorded_in,
)
from grandopt.workflows.selection.recipe import machine
from tests.reporting.samples import failed, figures, optimized, report, shipped


def file(path: Path, content: bytes = b"weights") -> FileDigest:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return FileDigest(path=path.name, sha256=hashlib.sha256(content).hexdigest())


def recipe(folder: Path, config: AgentConfig, **changes: Any) -> Recipe:
    values: dict[str, Any] = {
        "folder": str(folder),
        "command": ("grandopt", "optimize"),
        "config": config.model_dump(mode="json"),
        "profile": PROFILES["basic"].model_dump(mode="json"),
        "seed": 0,
        "threads": 1,
        "checkpoint": None,
        "samples": None,
        "vecnormalize": None,
        "machine": machine(),
        "built": BuildRecipe(
            label="original",
            candidate=None,
            threads=1,
            compilers={},
            agent_sha256="0",
            payload={},
            contents={},
        ),
    }
    return Recipe(**(values | changes))


def manifest(recipe: Recipe | None, **evidence: Any) -> Manifest:
    return Manifest(
        name="gate",
        engine="torchscript",
        precision="float32",
        signature={"inputs": [{"name": "state", "shape": [7]}], "outputs": []},
        source=Source(format="sb3"),
        payload=(),
        machine="x86_64",
        built_by="grandopt 0.1.0",
        evidence={**({} if recipe is None else {"recipe": recipe.model_dump(mode="json")}), **evidence},
    )


def recorded(recipe: Recipe, output: Path = Path()) -> Recorded:
    assert recipe.built is not None
    config = AgentConfig.model_validate(recipe.config)
    return Recorded("gate", recipe, recipe.built, PROFILES["basic"], config, None, None, None, output)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder beside the one of the run."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "run"


ZIP = AgentConfig(checkpoint=Path("gate.zip"))


def test_files_are_found_where_the_run_was(here: Path) -> None:
    checkpoint, samples = file(here / "gate.zip"), file(here / "s.npz", b"samples")
    found = found_files(
        recorded(recipe(here, ZIP, checkpoint=checkpoint, samples=samples)), Substitutes(), trust=False
    )
    assert (found.config.checkpoint, found.samples) == (here / "gate.zip", here / "s.npz")
    assert found.differences == ()


def test_statistics_that_were_given_are_found_where_the_run_was(here: Path) -> None:
    checkpoint, statistics = file(here / "gate.pt"), file(here / "s.npz", b"statistics")
    agent = AgentConfig(checkpoint=Path("gate.pt"), statistics=Path("s.npz"))
    told = recipe(here, agent, checkpoint=checkpoint, vecnormalize=statistics)
    found = found_files(recorded(told), Substitutes(), trust=False)
    assert (found.config.statistics, found.config.vecnormalize) == (here / "s.npz", "none")
    (here / "s.npz").write_bytes(b"others")
    (difference,) = found_files(recorded(told), Substitutes(), trust=False).differences
    assert difference.what == f"observation statistics {here / 's.npz'}"


@pytest.mark.parametrize("output", [".", "out", "out/deeper"])
def test_the_folder_of_the_run_is_told_from_its_output_on(here: Path, output: str) -> None:
    checkpoint = file(here / "gate.zip")
    (here / output).mkdir(parents=True, exist_ok=True)
    told = recipe(Path(os.path.relpath(here, here / output)), ZIP, checkpoint=checkpoint)
    assert not Path(told.folder).is_absolute()
    found = found_files(recorded(told, here / output), Substitutes(), trust=False)
    assert found.config.checkpoint is not None
    assert found.config.checkpoint.resolve() == here / "gate.zip"


def test_a_folder_that_is_an_agent_is_found_and_compared(here: Path) -> None:
    agent = here / "000123"
    file(agent / "ppo_network_config.json", b"{}")
    digest = FileDigest(path=agent.name, sha256=sha256(agent))
    run = recorded(recipe(here, AgentConfig(checkpoint=Path("000123")), checkpoint=digest))
    found = found_files(run, Substitutes(), trust=False)
    assert (found.config.checkpoint, found.differences) == (agent, ())
    file(agent / "manifest.ocdbt")
    (difference,) = found_files(run, Substitutes(), trust=False).differences
    assert difference.what == f"checkpoint {agent}"


def test_a_file_named_instead_is_taken_and_compared(here: Path) -> None:
    checkpoint = file(here / "gate.zip")
    file(here / "other.zip", b"other weights")
    found = found_files(
        recorded(recipe(here, ZIP, checkpoint=checkpoint)),
        Substitutes(checkpoint=here / "other.zip"),
        trust=False,
    )
    (difference,) = found.differences
    assert difference.what == f"checkpoint {here / 'other.zip'}"
    assert (difference.then, difference.now) == (
        checkpoint.sha256,
        hashlib.sha256(b"other weights").hexdigest(),
    )


@pytest.mark.parametrize(
    ("field", "config", "words"),
    [
        ("checkpoint", ZIP, "gate: checkpoint: gone: no such file; give it with --checkpoint FILE"),
        (
            "samples",
            AgentConfig(reference="lvn_embedder"),
            "gate: samples: gone: no such file; give it with --sam",
        ),
        (
            "vecnormalize",
            AgentConfig(reference="lvn_embedder"),
            "gate: observation statistics: gone: no such",
        ),
    ],
)
def test_a_missing_file_is_named(here: Path, field: str, config: AgentConfig, words: str) -> None:
    gone = FileDigest(path="gone", sha256="0" * 64)
    with pytest.raises(CheckpointError, match=words):
        found_files(recorded(recipe(here, config, **{field: gone})), Substitutes(), trust=False)


def test_statistics_that_were_not_there_are_not_picked_up_now(here: Path) -> None:
    checkpoint = file(here / "gate.zip")
    file(here / "vecnormalize.pkl", b"of another agent")
    run = recipe(here, ZIP, checkpoint=checkpoint)
    assert found_files(recorded(run), Substitutes(), trust=False).config.vecnormalize == "none"
    statistics = file(here / "mine.pkl", b"its own")
    run = recipe(here, ZIP, checkpoint=checkpoint, vecnormalize=statistics)
    assert found_files(recorded(run), Substitutes(), trust=False).config.vecnormalize == here / "mine.pkl"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"network": "os:system", "network_args": {"command": "true"}},
            "its recipe calls os:system, which can",
        ),
        ({"trust": True}, "its recipe unpickles its checkpoint, which can run any code"),
    ],
)
def test_a_recipe_that_runs_code_has_to_be_trusted(here: Path, changes: dict[str, Any], words: str) -> None:
    run = recorded(recipe(here, ZIP.model_copy(update=changes), checkpoint=file(here / "gate.zip")))
    with pytest.raises(CheckpointError, match=words):
        found_files(run, Substitutes(), trust=False)
    assert found_files(run, Substitutes(), trust=True).config.checkpoint == here / "gate.zip"


def test_a_module_in_memory_cannot_be_found(here: Path) -> None:
    with pytest.raises(CheckpointError, match="from a module in memory"):
        found_files(
            recorded(recipe(here, AgentConfig(checkpoint=Path("<memory:gate>")))), Substitutes(), trust=False
        )


def test_files_that_had_no_part_are_refused(here: Path) -> None:
    run = recorded(recipe(here, AgentConfig(reference="lvn_embedder")))
    for name in ("checkpoint", "samples"):
        with pytest.raises(CheckpointError, match=f"was made without {name}; leave out --{name}"):
            found_files(run, Substitutes(**{name: here / "x"}), trust=False)


def test_an_artifact_tells_its_recipe_and_one_without_cannot(tmp_path: Path) -> None:
    run = recipe(tmp_path, AgentConfig(reference="lvn_embedder"))
    place = tmp_path / "gate"
    write(place, manifest(run, figures=figures().model_dump(mode="json")), {"p": b"payload"})
    (found,) = recorded_in(place)
    assert isinstance(found, Recorded)
    assert (found.recipe, found.figures, found.speedup) == (run, figures(), None)
    write(place, manifest(None), {"p": b"payload"})
    (old,) = recorded_in(place)
    assert isinstance(old, Unrecorded)
    assert "has no recipe" in old.reason.text
    assert old.reason.code is ReasonCode.NOT_RECORDED


def test_a_damaged_artifact_or_recipe_is_refused(tmp_path: Path) -> None:
    run = recipe(tmp_path, AgentConfig(reference="lvn_embedder"))
    place = tmp_path / "gate"
    artifact = write(place, manifest(run), {"p": b"payload"})
    artifact.payload_path("p").write_bytes(b"paYload")
    with pytest.raises(ArtifactError, match="damaged"):
        recorded_in(place)
    broken = manifest(run)
    del broken.evidence["recipe"]["seed"]
    write(tmp_path / "other", broken, {"p": b"payload"})
    with pytest.raises(ReportError, match="recipe: field 'seed' cannot be used"):
        recorded_in(tmp_path / "other")
    with pytest.raises(ArtifactError, match=r"no such artifact|not an artifact"):
        recorded_in(tmp_path)


def test_a_report_tells_all_its_agents_or_those_named(tmp_path: Path) -> None:
    run = recipe(tmp_path, AgentConfig(reference="lvn_embedder"))
    place = write(tmp_path / "artifacts" / "gate", manifest(run), {"p": b"payload"})
    made = shipped(artifact="artifacts/gate", digest=place.manifest.digest)
    other = shipped(artifact="artifacts/gate", digest="0" * 64)
    agents = (
        optimized("gate", recipe=run, shipped=made),
        optimized("changed", recipe=run, shipped=other),
        failed(),
    )
    path = tmp_path / "reports" / "report.json"
    write_report(report(*agents), path)
    gate, changed, broken = recorded_in(path)
    assert isinstance(gate, Recorded)
    assert gate.artifact == place
    assert isinstance(changed, Recorded)
    assert changed.artifact is None
    assert "is another artifact by now" in str(changed.no_artifact)
    assert isinstance(broken, Unrecorded)
    assert [item.name for item in recorded_in(path, ["changed"])] == ["changed"]
    with pytest.raises(ReportError, match="has no agent 'gat'; it has gate, changed, fvg"):
        recorded_in(path, ["gat"])
