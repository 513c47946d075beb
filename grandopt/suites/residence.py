"""Shipped agents served together in one process, beside their originals in eager torch in another."""

from __future__ import annotations

import statistics
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from grandopt.artifacts.artifact import Artifact, is_artifact, read
from grandopt.artifacts.store import Store
from grandopt.compiler.build import original
from grandopt.config.schema import Job
from grandopt.errors import ConfigError, MeasurementError
from grandopt.measurement.residence import Outputs, Residence, residence
from grandopt.measurement.subject import Subject
from grandopt.runtime.loader import load
from grandopt.signature import Array
from grandopt.verification.inputs import ring
from grandopt.workflows.events import Event, Listener, silent
from grandopt.workflows.job import STATE
from grandopt.workflows.memo.programs import capture_or_load
from grandopt.workflows.open_agents import open_agents
from grandopt.workflows.optimize import ARTIFACTS

PROCESSES = 3
"""Of each side, in turns; the figures are medians."""
ROWS = 64
"""Observations per agent."""


@dataclass(frozen=True)
class Served:
    """One agent: the engine and the precision that were shipped, and how far its answers were from its
    original's (the largest relative L2 error of its outputs)."""

    name: str
    engine: str
    precision: str
    error: float


@dataclass(frozen=True)
class Side:
    """The memory of one process in MB (see `measurement.residence`)."""

    rss_mb: float
    pss_mb: float
    uss_mb: float


@dataclass(frozen=True)
class ResidenceComparison:
    """`saved` is the share of the originals' resident memory that the shipped agents do without. `limit` is
    the relative L2 error that the profile admits; agents beyond it are in `different`."""

    agents: tuple[Served, ...]
    eager: Side
    shipped: Side
    saved: float
    limit: float
    different: tuple[str, ...]


def benchmark_residence(job: Job, listener: Listener = silent) -> ResidenceComparison:
    """Measure the artifacts that `optimize` shipped for the job's agents beside the originals.

    Each side is a fresh process that loads every agent and answers the same observations. Raises ConfigError
    for an agent without an artifact, an InputError for a checkpoint that cannot be read, and MeasurementError
    when a process fails, or answers another time differently.
    """
    threads = 1 if job.threads == "auto" else job.threads
    shipped = [_shipped(job.output / ARTIFACTS / name, name) for name in job.agents]
    with closing(Store(job.output / STATE / "store", int(job.store_limit_mb * 1e6))) as store:
        originals = []
        for opened in open_agents(job):
            listener(Event("info", opened.name, "capture", "the original", 0, len(shipped)))
            originals.append(original(capture_or_load(opened.checkpoint, store, job.seed), store))
        inputs = [_observations(artifact, job.seed) for artifact in shipped]
        turns = []
        for turn in range(PROCESSES):
            listener(Event("info", "all agents", "measure", f"processes {turn + 1}/{PROCESSES}"))
            sides = (originals, shipped) if turn % 2 == 0 else (shipped, originals)
            found = [residence(_subjects(side), inputs, threads) for side in sides]
            turns.append(found if turn % 2 == 0 else found[::-1])
    return _compared(job, shipped, [turn[0] for turn in turns], [turn[1] for turn in turns])


def _shipped(folder: Path, name: str) -> Artifact:
    if not is_artifact(folder):
        raise ConfigError(
            f"{folder}: no artifact of {name}; run `grandopt optimize` first, with this --output"
        )
    artifact = read(folder)
    load(folder, trust=True).close()  # what does not fit this machine is said before anything is measured
    return artifact


def _observations(artifact: Artifact, seed: int) -> list[Array]:
    drawn = ring(artifact.manifest.parsed_signature(), seed=seed)
    return [np.ascontiguousarray(array[:ROWS]) for array in drawn]


def _subjects(artifacts: list[Artifact]) -> list[Subject]:
    return [Subject(artifact.manifest.name, artifact.path, trust=True) for artifact in artifacts]


def _compared(
    job: Job, shipped: list[Artifact], eager: list[Residence], mine: list[Residence]
) -> ResidenceComparison:
    for side in (eager, mine):
        for other in side[1:]:
            if any(_error(a, b) for a, b in zip(side[0].outputs, other.outputs, strict=True)):
                raise MeasurementError("two processes with the same agents answered differently")
    agents = tuple(
        Served(artifact.manifest.name, artifact.manifest.engine, artifact.manifest.precision, _error(a, b))
        for artifact, a, b in zip(shipped, eager[0].outputs, mine[0].outputs, strict=True)
    )
    limit = job.profile.limits.relative_l2
    before, after = _median(eager), _median(mine)
    return ResidenceComparison(
        agents=agents,
        eager=before,
        shipped=after,
        saved=1 - after.rss_mb / before.rss_mb,
        limit=limit,
        different=tuple(agent.name for agent in agents if not agent.error <= limit),
    )


def _median(side: list[Residence]) -> Side:
    return Side(
        statistics.median(one.rss_mb for one in side),
        statistics.median(one.pss_mb for one in side),
        statistics.median(one.uss_mb for one in side),
    )


def _error(wanted: Outputs, given: Outputs) -> float:
    """The largest relative L2 error of an output."""
    pairs = [(a.astype(np.float64), b.astype(np.float64)) for a, b in zip(wanted, given, strict=True)]
    return max(float(np.linalg.norm(b - a) / (np.linalg.norm(a) or 1.0)) for a, b in pairs)
