"""What the operands of `compare` are: artifacts, checkpoints, reports, or the name of a saved baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from grandopt.artifacts.artifact import is_artifact, read
from grandopt.compiler.checkpoints.frameworks.folders import is_agent
from grandopt.errors import ConfigError, ReportError
from grandopt.reporting.gate import baseline

Kind = Literal["artifacts", "checkpoint", "report"]

RUN_ARTIFACTS = "artifacts"
"""The folder of artifacts in the output folder of a run."""


@dataclass(frozen=True)
class ComparedOperand:
    """One side of a comparison: `artifacts` by agent, or the `path` of a report or checkpoint.

    `name` is what the user wrote, and `single` says that it was one artifact rather than a folder of them.
    `report` is the report that a saved baseline came with, if any.
    """

    name: str
    kind: Kind
    path: Path
    artifacts: Mapping[str, Path]
    single: bool = False
    report: Path | None = None


def operand(text: str, folder: Path = baseline.FOLDER) -> ComparedOperand:
    """What `text` names: what lies at that path, else the saved baseline of that name below `folder`.

    Raises ConfigError when there is neither, and ReportError for a damaged baseline.
    """
    path = Path(text)
    if not path.exists():
        if text in baseline.names(folder):
            return saved(text, folder)
        known = ", ".join(baseline.names(folder))
        have = f"have {known}" if known else "there are none, `grandopt baseline save` makes one"
        raise ConfigError(f"{text}: no such file or folder, and no baseline of that name ({have})")
    if is_artifact(path):
        place = path.parent if path.is_file() else path
        return ComparedOperand(text, "artifacts", place, {place.resolve().name: place}, single=True)
    if path.is_dir() and not is_agent(path):
        if (path / baseline.FILE).is_file():
            return saved(path.resolve().name, path.resolve().parent, shown=text)
        return ComparedOperand(text, "artifacts", path, artifacts_in(path))
    return ComparedOperand(text, "report" if path.suffix == ".json" else "checkpoint", path, {})


def saved(name: str, folder: Path, shown: str | None = None) -> ComparedOperand:
    """A saved baseline: the artifacts that it says it has, as they were when they were saved.

    Raises ReportError when it is damaged or an artifact is another one, ConfigError when one is missing, and
    ArtifactError for one that cannot be read.
    """
    place = folder / name
    kept = baseline.load_baseline(place)
    found = artifacts_in(place / kept.content)
    missing = [agent.name for agent in kept.agents if agent.name not in found]
    if missing:
        raise ConfigError(
            f"{place}: the artifact of {', '.join(missing)} is missing; save the baseline again"
        )
    for agent in kept.agents:
        digest = read(found[agent.name]).manifest.digest
        if digest != agent.digest:
            raise ReportError(
                f"{found[agent.name]}: is not the artifact that was saved: its digest is {digest[:16]}…, the "
                f"baseline has {agent.digest[:16]}…; save the baseline again"
            )
    report = place / kept.content / baseline.REPORT if kept.report else None
    artifacts = {agent.name: found[agent.name] for agent in kept.agents}
    return ComparedOperand(shown or name, "artifacts", place, artifacts, report=report)


def artifacts_in(folder: Path) -> dict[str, Path]:
    """The artifacts in a folder, or in its subfolder `artifacts`, by the names of their folders.

    Raises ConfigError when there are none.
    """
    for place in (folder, folder / RUN_ARTIFACTS):
        if place.is_dir():
            found = {
                item.name: item for item in sorted(place.iterdir()) if item.is_dir() and is_artifact(item)
            }
            if found:
                return found
    raise ConfigError(
        f"{folder}: holds no artifacts; name an artifact, a folder of them, a checkpoint or a report"
    )


def paired(
    left: Mapping[str, object], right: Mapping[str, object], names: Sequence[str], sides: Mapping[str, str]
) -> list[str]:
    """The agents to compare: all, or those of `names`. `sides` says what "baseline" and
    "candidate" are called.

    Raises ConfigError for an agent that is in only one of the two.
    """
    wanted = list(names) or list(dict.fromkeys((*left, *right)))
    for side, own, other in (("baseline", left, right), ("candidate", right, left)):
        lonely = [name for name in wanted if name not in own]
        unknown = [name for name in lonely if name not in other]
        if unknown:
            raise ConfigError(
                f"agent {unknown[0]!r} is in neither of the two; both have {_listed(left, right)}"
            )
        if lonely:
            raise ConfigError(
                f"{', '.join(lonely)}: not in the {side} ({sides[side]}); compare what both have with "
                f"--agent, or save a new baseline"
            )
    return wanted


def _listed(left: Mapping[str, object], right: Mapping[str, object]) -> str:
    return ", ".join(name for name in left if name in right) or "no agent in common"
