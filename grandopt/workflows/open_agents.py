"""Opening the agents of a job: every checkpoint and every sample file is read before any work starts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from grandopt.compiler.checkpoints import detect, reference
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.checkpoints.files import sha256
from grandopt.config.schema import AgentConfig, Job
from grandopt.errors import InputError
from grandopt.reporting.recipe import FileDigest
from grandopt.signature import Array
from grandopt.verification.samples import load_samples


@dataclass(frozen=True)
class OpenedAgent:
    """An agent whose files were read: its checkpoint, and recorded observations if the user gave some.

    `samples` holds one array per input that is no recurrent state; `samples_file` is where they lie.
    """

    name: str
    config: AgentConfig
    checkpoint: Checkpoint
    samples: tuple[Array, ...] | None = None
    samples_file: FileDigest | None = None


@dataclass(frozen=True)
class RefusedAgent:
    """An agent that could not be opened, and why."""

    name: str
    config: AgentConfig
    error: InputError


def open_each(job: Job, samples: Path | None = None) -> tuple[list[OpenedAgent], list[RefusedAgent]]:
    """The agents of a job that could be opened, in order, and those that could not.

    Raises like `open_agents` for a job that does not go on without one of its agents.
    """
    if not job.go_on:
        return open_agents(job, samples), []
    opened: list[OpenedAgent] = []
    refused: list[RefusedAgent] = []
    for name, config in job.agents.items():
        try:
            opened.append(_open(name, config, job.seed, config.samples or samples))
        except InputError as error:
            refused.append(RefusedAgent(name, config, error))
    return opened, refused


def open_agents(job: Job, samples: Path | None = None) -> list[OpenedAgent]:
    """Open all agents of a job, in order.

    `samples` (the command line's `--samples`) is used for every agent that names no file of its own.
    Raises an InputError for the first that cannot be opened, prefixed with the agent's name, so that bad
    input is found before anything is written.
    """
    opened = []
    for name, config in job.agents.items():
        try:
            opened.append(_open(name, config, job.seed, config.samples or samples))
        except InputError as error:
            raise type(error)(f"{name}: {error}") from error
    return opened


def _open(name: str, config: AgentConfig, seed: int, samples: Path | None) -> OpenedAgent:
    if config.reference is not None:
        checkpoint = reference.load(name, config.reference, seed)
    else:
        checkpoint = detect.load(name, config)
    return opened_with(OpenedAgent(name, config, checkpoint), samples)


def opened_with(agent: OpenedAgent, samples: Path | None) -> OpenedAgent:
    """The agent with the recorded observations in `samples`; raises SamplesError, CheckpointError."""
    if samples is None:
        return agent
    recorded = load_samples(samples, agent.checkpoint.observed)
    return replace(
        agent, samples=recorded, samples_file=FileDigest(path=str(samples), sha256=sha256(samples))
    )
