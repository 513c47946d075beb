"""Writing down what it takes to do an agent's run again."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from grandopt.artifacts.artifact import Artifact
from grandopt.artifacts.manifest import Source
from grandopt.compiler import build
from grandopt.compiler.build import Candidate
from grandopt.compiler.identity import content_digest, graph_digest
from grandopt.config.engine import Precision
from grandopt.config.engines import EngineOptions
from grandopt.errors import ConfigError, first_line
from grandopt.measurement.environment import environment
from grandopt.private import told, told_path
from grandopt.reporting.recipe import BuildRecipe, FileDigest, MachineReport, Recipe
from grandopt.workflows.building.built import BuiltCandidate
from grandopt.workflows.job import Run
from grandopt.workflows.open_agents import OpenedAgent
from grandopt.workflows.selection.candidate_set import CandidateSet

OPTIONS: TypeAdapter[EngineOptions] = TypeAdapter(EngineOptions)
PRECISION: TypeAdapter[Precision] = TypeAdapter(Precision)


def recipe(run: Run, opened: OpenedAgent, built: BuildRecipe | None = None) -> Recipe:
    """The recipe of an agent's run, with how it was built where something was."""
    job, source = run.job, opened.checkpoint.source
    return Recipe(
        folder=os.path.relpath(Path.cwd(), job.output.absolute()),
        command=run.command,
        config=told(opened.config.model_dump(mode="json")),
        profile=job.profile.model_dump(mode="json"),
        seed=job.seed,
        threads=job.threads,
        checkpoint=_file(source.path, source.sha256),
        samples=opened.samples_file,
        vecnormalize=_statistics(source),
        machine=machine(),
        built=built,
    )


def build_recipe(candidate_set: CandidateSet, kept: BuiltCandidate) -> BuildRecipe:
    """How what is kept was built; the original has no recipe of a candidate."""
    artifact = candidate_set.artifact(kept)
    return BuildRecipe(
        label=kept.label,
        candidate=None
        if kept.is_original
        else {
            "precision": kept.candidate.precision,
            "options": kept.candidate.options.model_dump(mode="json"),
        },
        threads=artifact.manifest.threads,
        compilers=build.compilers(artifact.manifest.engine),
        agent_sha256=graph_digest(candidate_set.program),
        payload=payload_digests(artifact),
        contents=content_digests(artifact),
    )


def payload_digests(artifact: Artifact) -> dict[str, str]:
    """The SHA-256 (hex) of every payload file, by name."""
    return {file.name: file.sha256 for file in artifact.manifest.payload}


def content_digests(artifact: Artifact) -> dict[str, str]:
    """The same of what each of them says, whatever its engine numbered anew."""
    return {name: content_digest(content) for name, content in artifact.payloads().items()}


def candidate_of(built: BuildRecipe) -> Candidate | None:
    """The candidate of a build recipe, None for the original; raises ConfigError for unknown options."""
    if built.candidate is None:
        return None
    try:
        options = OPTIONS.validate_python(built.candidate["options"])
        precision = PRECISION.validate_python(built.candidate["precision"])
    except (ValidationError, KeyError) as error:
        raise ConfigError(
            f"{built.label}: its recipe has options that this grandopt does not know ({first_line(error)}); "
            f"use the grandopt that wrote it"
        ) from error
    return Candidate(precision, options)


def machine() -> MachineReport:
    """This machine and its libraries."""
    here = environment()
    return MachineReport(
        identity=here.identity,
        cpu_model=here.cpu_model,
        architecture=here.architecture,
        os=here.os,
        kernel=here.kernel,
        python=here.python,
        libraries=here.libraries,
    )


def _statistics(source: Source) -> FileDigest | None:
    found = source.details.get("vecnormalize") or source.details.get("statistics")
    return None if found is None else _file(found["path"], found["sha256"])


def _file(path: str | None, sha256: str | None) -> FileDigest | None:
    return None if path is None or sha256 is None else FileDigest(path=told_path(path), sha256=sha256)
