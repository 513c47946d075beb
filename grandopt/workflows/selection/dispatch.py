"""What a call through an engine costs at least on this machine, measured once and kept in the store.

It is that of the null agent, which copies eight numbers: every agent's call through the same engine takes
the same way, and does more. So no candidate of the engine is faster, whatever its network; where that is
slower than the fastest candidate of an agent already, it need not be built.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Collection
from dataclasses import replace

import numpy as np
import torch

from grandopt.compiler import build
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.compiler.networks.null_agent import INPUTS, NullAgent
from grandopt.config.schema import AgentConfig
from grandopt.errors import GrandoptError
from grandopt.measurement.environment import crowded, environment
from grandopt.measurement.settings import MeasurementSettings
from grandopt.workflows.building.request import Deadline
from grandopt.workflows.job import Run
from grandopt.workflows.memo.build_history import BuildHistory
from grandopt.workflows.memo.fingerprint import code_digest
from grandopt.workflows.memo.programs import capture_or_load
from grandopt.workflows.open_agents import OpenedAgent
from grandopt.workflows.selection.candidate_set import CandidateSet
from grandopt.workflows.selection.characterisation import MEASURING
from grandopt.workflows.selection.priority import Outlook, in_order

NAME = "null_agent"

SHARE = 0.6
"""Of the fastest round that was measured this much counts. A core whose twin is busy, or one at a lower
frequency, takes up to 1.6 times as long, and the bound has to hold on an idle machine, too."""

MOST_SHARE = 0.75
"""Of the time that is left to build an agent's own candidates: one of a slow engine takes as long, and what
is known of the engine spares it to all agents that come after."""

SECONDS = 0.25
"""Of calls of one engine."""


def least_call_us(run: Run, engines: Collection[str], until: float) -> dict[str, float]:
    """The least that a call through each of the engines takes, in µs; without those of which it is unknown.

    What is not in the store is built and measured, once in a run, unless others crowd the machine. That takes
    at most MOST_SHARE of the time `until` then (monotonic seconds); what is not expected to be ready by then
    waits for an agent that leaves more.
    """
    known = {engine: _kept(run, engine) for engine in engines}
    missing = [engine for engine, us in known.items() if us is None and _key(engine) not in run.taken]
    left = until - time.monotonic()
    if missing and left > 0 and not crowded(run.builders.count):
        try:
            known |= _measured(run, missing, until - (1 - MOST_SHARE) * left)
        except GrandoptError as error:
            run.taken.update(_key(engine) for engine in missing)
            run.tell(NAME, "measure", f"what a call costs is not known: {error}", level="warning")
    return {engine: us for engine, us in known.items() if us is not None}


def _kept(run: Run, engine: str) -> float | None:
    note = run.store.note(_key(engine))
    return None if note is None else float(json.loads(note))


def _key(engine: str) -> str:
    parts = [
        "least call",
        engine,
        SHARE,
        build.compilers(engine),
        environment().identity,
        code_digest(MEASURING),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _measured(run: Run, engines: Collection[str], until: float) -> dict[str, float | None]:
    """The same, of the null agent built with these engines; those are kept that came to something."""
    candidate_set = _null_agent(run, engines)
    first: dict[str, Outlook] = {}
    for item in in_order(candidate_set.candidates.values(), 0, BuildHistory(run.store).seen):
        first.setdefault(item.candidate.engine, item)
    seconds = until - time.monotonic()
    expected = {
        (item.candidate.label, 1): item.expected
        for item in first.values()
        if (not item.expected.slow or item.expected.seconds <= seconds)
        and candidate_set.earlier.failed((item.candidate.label, 1), seconds, retried=False) is None
    }
    run.taken.update(_key(candidate_set.candidates[label].engine) for label, _ in expected)
    candidate_set.build(list(expected), Deadline(until, until), expected)
    builds = [built for built in candidate_set.builds() if built.status == "verified"]
    if not builds:
        return {}
    settings = MeasurementSettings.quick(seed=run.job.seed, max_seconds=SECONDS)
    run.tell(NAME, "measure", f"what a call costs through {', '.join(b.candidate.engine for b in builds)}")
    measurement = candidate_set.measure(builds, settings)
    found: dict[str, float | None] = {}
    for built in builds:
        rounds = [process.round_medians_ns for process in measurement.samples(built.label).processes]
        us = SHARE * float(np.min(np.concatenate(rounds))) / 1e3
        run.store.put_note(_key(built.candidate.engine), json.dumps(us).encode())
        found[built.candidate.engine] = us
    return found


def _null_agent(run: Run, engines: Collection[str]) -> CandidateSet:
    """The null agent with its candidates of these engines in float32, which every engine has."""
    wanted = {
        "engines": tuple(engine for engine in run.job.profile.engines if engine in engines),
        "precisions": ("float32",),
    }
    profile = run.job.profile.model_copy(update=wanted)
    narrowed = replace(run, job=run.job.model_copy(update={"profile": profile}))
    with torch.random.fork_rng():
        checkpoint = from_module(NAME, NullAgent(), torch.zeros(1, INPUTS))
    opened = OpenedAgent(NAME, AgentConfig(reference="null"), checkpoint)
    return CandidateSet(
        narrowed, opened, capture_or_load(checkpoint, run.store, run.job.seed, resume=run.job.resume)
    )
