"""`baseline save`: the artifacts of a run are kept to be compared with later."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from importlib import metadata
from pathlib import Path

from grandopt.artifacts.artifact import Artifact, is_artifact, read
from grandopt.artifacts.writing import copy_folder, locked, put_file
from grandopt.config.names import check_agent_name
from grandopt.errors import ConfigError, OutputError
from grandopt.measurement.environment import environment
from grandopt.reporting.gate.baseline import ARTIFACTS, CONTENT, FILE, FOLDER, REPORT, Baseline, BaselineAgent
from grandopt.reporting.log import utc_now
from grandopt.reporting.report import load_report
from grandopt.workflows.gate.operands import artifacts_in
from grandopt.workflows.records import moment


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
    if place.exists() and not (place / FILE).exists() and not _is_left_over(place):
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
        content=f"{CONTENT}{secrets.token_hex(8)}",
        agents=tuple(_described(agent, artifact) for agent, artifact in artifacts.items()),
    )
    try:
        _write(kept, artifacts, report, place)
    except OSError as error:
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
        bytes=sum(file.size for file in manifest.needed),
    )


def _is_left_over(place: Path) -> bool:
    """Whether a folder without the file that makes it a baseline is that of a writer that was killed."""
    return place.is_dir() and all(item.name.startswith((CONTENT, ".")) for item in place.iterdir())


def _write(kept: Baseline, artifacts: dict[str, Artifact], report: Path | None, place: Path) -> None:
    """Put the content beside what is there, then the file that names it, and only then take the old away."""
    place.mkdir(parents=True, exist_ok=True)
    text = json.dumps(kept.model_dump(mode="json"), indent=2, allow_nan=False, ensure_ascii=False)
    with locked(place):
        content = place / kept.content
        try:
            for agent, artifact in artifacts.items():
                copy_folder(artifact.path, content / ARTIFACTS / agent)
            if report is not None:
                put_file(content / REPORT, report.read_bytes())
            put_file(place / FILE, f"{text}\n".encode())
        except OSError:
            shutil.rmtree(content, ignore_errors=True)
            raise
        for item in place.iterdir():  # of the baseline before, and of writers that were killed
            if item.name == ARTIFACTS or (item.name.startswith(CONTENT) and item != content):
                shutil.rmtree(item)
            elif item.name == REPORT:
                item.unlink()
