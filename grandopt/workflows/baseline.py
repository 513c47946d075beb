"""`baseline save`: the artifacts of a run are kept to be compared with later."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from importlib import metadata
from pathlib import Path

from grandopt.artifacts.artifact import Artifact, is_artifact, read
from grandopt.config.schema import check_agent_name
from grandopt.errors import ConfigError, OutputError
from grandopt.measurement.environment import environment
from grandopt.reporting.baseline import ARTIFACTS, FILE, FOLDER, REPORT, Baseline, BaselineAgent
from grandopt.reporting.log import utc_now
from grandopt.reporting.report import load_report
from grandopt.workflows.operands import artifacts_in
from grandopt.workflows.summary import moment


def save_baseline(
    name: str,
    source: Path,
    *,
    report: Path | None = None,
    agents: tuple[str, ...] = (),
    replace: bool = False,
    folder: Path = FOLDER,
    now: Callable[[], datetime] = utc_now,
) -> Baseline:
    """Copy the artifact `source`, or all artifacts in it, to `folder`/`name`, with the machine's identity.

    `report` is the report of the run that made them, kept beside them. `agents` are the only ones to keep,
    where it names any. The baseline is there whole or not at all.

    Raises ConfigError for a name that cannot be a folder, an unknown agent, or a baseline that is there
    unless `replace`; ArtifactError and ReportError for damaged ones; OutputError when the place cannot be
    written.
    """
    try:
        check_agent_name(name)
    except ValueError as error:
        raise ConfigError(
            f"{name!r} cannot be a baseline's name: use letters, digits, '_', '-', '.'"
        ) from error
    place = folder / name
    if (place / FILE).exists() and not replace:
        raise ConfigError(f"{place}: this baseline is there already; --replace writes a new one in its place")
    if place.exists() and not (place / FILE).exists():
        raise OutputError(f"{place}: holds something else than a baseline; choose another name")
    artifacts = _chosen(source, agents)
    for artifact in artifacts.values():
        artifact.verify()
    if report is not None:
        load_report(report)
    kept = Baseline(
        name=name,
        saved=moment(now()),
        grandopt=metadata.version("grandopt"),
        environment=asdict(environment()),
        report=report is not None,
        agents=tuple(_described(agent, artifact) for agent, artifact in artifacts.items()),
    )
    try:
        _write(kept, artifacts, report, place)
    except (OSError, shutil.Error) as error:
        raise OutputError(f"{place}: cannot be written ({error})") from error
    return kept


def _chosen(source: Path, agents: tuple[str, ...]) -> dict[str, Artifact]:
    if not source.exists():
        raise ConfigError(f"{source}: no such artifact or folder; `grandopt optimize` makes artifacts/")
    if is_artifact(source):
        artifact = read(source)
        found = {artifact.path.resolve().name: artifact}
    else:
        found = {name: read(path) for name, path in artifacts_in(source).items()}
    for name in agents:
        if name not in found:
            raise ConfigError(f"{source}: has no agent {name!r}; it has {', '.join(found)}")
    return {name: artifact for name, artifact in found.items() if not agents or name in agents}


def _described(name: str, artifact: Artifact) -> BaselineAgent:
    manifest = artifact.manifest
    return BaselineAgent(
        name=name,
        engine=manifest.engine,
        precision=manifest.precision,
        digest=manifest.digest,
        bytes=sum(file.size for file in manifest.payload),
    )


def _write(kept: Baseline, artifacts: dict[str, Artifact], report: Path | None, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{place.name}-", dir=place.parent) as name:
        new, old = Path(name) / "new", Path(name) / "old"
        for agent, artifact in artifacts.items():
            shutil.copytree(artifact.path, new / ARTIFACTS / agent)
        if report is not None:
            shutil.copyfile(report, new / REPORT)
        text = json.dumps(kept.model_dump(mode="json"), indent=2, allow_nan=False, ensure_ascii=False)
        (new / FILE).write_text(text + "\n", encoding="utf-8")
        if place.exists():
            place.rename(old)
        new.rename(place)
