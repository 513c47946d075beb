"""What the operands of `compare` are: artifacts, checkpoints, reports, or the name of a saved baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from grandopt.artifacts.artifact import is_artifact
from grandopt.errors import ConfigError
from grandopt.reporting import baseline

Kind = Literal["artifacts", "checkpoint", "report"]

RUN_ARTIFACTS = "artifacts"
"""The folder of artifacts in the output folder of a run."""


@dataclass(frozen=True)
class Operand:
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


def operand(text: str, folder: Path = baseline.FOLDER) -> Operand:
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
        return Operand(text, "artifacts", place, {place.resolve().name: place}, single=True)
    if path.is_dir():
        if (path / baseline.FILE).is_file():
            return saved(path.resolve().name, path.resolve().parent, shown=text)
        return Operand(text, "artifacts", path, artifacts_in(path))
    return Operand(text, "report" if path.suffix == ".json" else "checkpoint", path, {})


def saved(name: str, folder: Path, shown: str | None = None) -> Operand:
    """A saved baseline; raises ReportError when it is damaged, ConfigError when artifacts are missing."""
    place = folder / name
    kept = baseline.load_baseline(place)
    found = artifacts_in(place)
    missing = [agent.name for agent in kept.agents if agent.name not in found]
    if missing:
        raise ConfigError(
            f"{place}: the artifact of {', '.join(missing)} is missing; save the baseline again"
        )
    report = place / baseline.REPORT if kept.report else None
    return Operand(shown or name, "artifacts", place, found, report=report)


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
