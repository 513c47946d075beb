"""What was recorded of an agent's run, and the files that went into it, found again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from grandopt.artifacts.artifact import Artifact, is_artifact, read
from grandopt.compiler.checkpoints.folder import sha256
from grandopt.compiler.checkpoints.frameworks.folders import is_agent
from grandopt.config.schema import AgentConfig, Profile
from grandopt.errors import ArtifactError, CheckpointError, ReportError
from grandopt.reason import Reason, ReasonCode
from grandopt.reporting.figures import Figures, RatioReport
from grandopt.reporting.recipe import BuildRecipe, FileDigest, Recipe, recipe_of
from grandopt.reporting.report import AgentReport, load_report
from grandopt.reporting.reproduction import Difference

STATISTICS = "observation statistics"


@dataclass(frozen=True)
class Recorded:
    """One agent as it was shipped: its recipe, its figures, and its artifact, or why there is none."""

    name: str
    recipe: Recipe
    built: BuildRecipe
    profile: Profile
    config: AgentConfig
    figures: Figures | None
    speedup: RatioReport | None
    artifact: Artifact | None
    output: Path
    no_artifact: Reason | None = None

    def places(self, path: str) -> list[Path]:
        """Where a file of the recipe may lie: from here on, or from where the command was called."""
        return [Path(path), self.output / self.recipe.folder / path]


@dataclass(frozen=True)
class Substitutes:
    """Files to take instead of those that were recorded."""

    checkpoint: Path | None = None
    samples: Path | None = None


@dataclass(frozen=True)
class FoundFiles:
    """The agent's configuration with its files where they are now, and in what these differ."""

    config: AgentConfig
    samples: Path | None
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Unrecorded:
    """An agent that cannot be reproduced because too little was recorded of it."""

    name: str
    reason: Reason


def recorded_in(path: Path, agents: Sequence[str] = ()) -> list[Recorded | Unrecorded]:
    """What an artifact, or the report of an optimization, has on record; `agents` names some of a report.

    Raises ArtifactError or ReportError for a file that is neither or is damaged, or has no agent of a name.
    """
    if is_artifact(path) or path.is_dir():
        return [_of_artifact(path)]
    report = load_report(path)
    known = [agent.name for agent in report.agents]
    for name in agents:
        if name not in known:
            raise ReportError(f"{path}: has no agent {name!r}; it has {', '.join(known) or 'none'}")
    output = path.parent.parent
    return [_of_report(agent, output) for agent in report.agents if not agents or agent.name in agents]


def found_files(recorded: Recorded, instead: Substitutes, *, trust: bool) -> FoundFiles:
    """Find the files of a recipe: as named instead, else from here, else from the folder of the run.

    Raises CheckpointError for one that is missing, for an agent that came from memory, and for a recipe that
    runs code (a network of the user's, a pickle) when `trust` was not said.
    """
    recipe, config = recorded.recipe, recorded.config
    runs = [
        f"calls {config.network}" if config.network is not None else "",
        "unpickles its checkpoint" if config.trust else "",
    ]
    if any(runs) and not trust:
        raise CheckpointError(
            f"{recorded.name}: its recipe {' and '.join(word for word in runs if word)}, which can run any "
            f"code; if you know who made it, give --trust"
        )
    if config.reference is None and recipe.checkpoint is None:
        raise CheckpointError(
            f"{recorded.name}: was made from a module in memory, so there is no file to build it from again; "
            f"call grandopt.optimize with that module"
        )
    differences: list[Difference] = []
    checkpoint = _find(recorded, "checkpoint", recipe.checkpoint, instead.checkpoint, differences)
    samples = _find(recorded, "samples", recipe.samples, instead.samples, differences)
    statistics = _find(recorded, STATISTICS, recipe.vecnormalize, None, differences)
    changes = {"checkpoint": checkpoint, "samples": None, "vecnormalize": statistics or "none"}
    if isinstance(config.statistics, Path):
        changes |= {"statistics": statistics, "vecnormalize": "none"}
    return FoundFiles(config.model_copy(update=changes), samples, tuple(differences))


def _find(
    recorded: Recorded,
    what: str,
    file: FileDigest | None,
    instead: Path | None,
    differences: list[Difference],
) -> Path | None:
    if file is None:
        if instead is not None:
            raise CheckpointError(f"{recorded.name}: was made without {what}; leave out --{what}")
        return None
    places = [instead] if instead is not None else recorded.places(file.path)
    path = next((place for place in places if place.is_file() or is_agent(place)), None)
    if path is None:
        option = "; put it there again" if what == STATISTICS else f"; give it with --{what} FILE"
        raise CheckpointError(f"{recorded.name}: {what}: {places[0]}: no such file{option}")
    now = sha256(path)
    if now != file.sha256:
        differences.append(Difference(what=f"{what} {path}", then=file.sha256, now=now))
    return path


def _of_artifact(path: Path) -> Recorded | Unrecorded:
    artifact = read(path)
    artifact.verify()
    evidence = artifact.manifest.evidence
    recipe = recipe_of(evidence)
    if recipe is None or recipe.built is None:
        return Unrecorded(
            artifact.manifest.name,
            Reason(
                ReasonCode.NOT_RECORDED,
                f"{path}: has no recipe; `grandopt optimize` of this version writes one into every artifact",
                "grandopt optimize",
            ),
        )
    try:
        figures, speedup = evidence.get("figures"), evidence.get("speedup")
        return Recorded(
            name=artifact.manifest.name,
            recipe=recipe,
            built=recipe.built,
            profile=Profile.model_validate(recipe.profile),
            config=AgentConfig.model_validate(recipe.config),
            figures=None if figures is None else Figures.model_validate(figures),
            speedup=None if speedup is None else RatioReport.model_validate(speedup),
            artifact=artifact,
            output=artifact.path.absolute().parent.parent,
        )
    except ValidationError as error:
        raise ArtifactError(f"{path}: its evidence cannot be read ({_problem(error)})") from error


def _of_report(agent: AgentReport, output: Path) -> Recorded | Unrecorded:
    recipe, shipped = agent.recipe, agent.shipped
    if recipe is None or recipe.built is None or shipped is None:
        words = f"{agent.name}: nothing was shipped, or the report has no recipe of it"
        return Unrecorded(agent.name, Reason(ReasonCode.NOT_RECORDED, words))
    artifact, reason = None, Reason(ReasonCode.NOT_RECORDED, "the report names no artifact")
    if shipped.artifact is not None:
        try:
            artifact = read(output / shipped.artifact)
            artifact.verify()
            if artifact.manifest.digest != shipped.digest:
                words = f"{output / shipped.artifact} is another artifact by now"
                artifact, reason = None, Reason(ReasonCode.OTHER_ARTIFACT, words)
        except ArtifactError as error:
            artifact, reason = None, Reason.of(error)
    try:
        return Recorded(
            name=agent.name,
            recipe=recipe,
            built=recipe.built,
            profile=Profile.model_validate(recipe.profile),
            config=AgentConfig.model_validate(recipe.config),
            figures=shipped.figures,
            speedup=agent.speedup,
            artifact=artifact,
            output=output,
            no_artifact=None if artifact is not None else reason,
        )
    except ValidationError as error:
        raise ReportError(f"agent {agent.name!r}: its recipe cannot be read ({_problem(error)})") from error


def _problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    return f"field {'.'.join(map(str, problem['loc']))!r}: {problem['msg']}"
