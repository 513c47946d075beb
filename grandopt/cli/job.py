"""From the options of `optimize`, `benchmark` and `tune` to a resolved job, and from its report to a code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from grandopt.cli.checkpoint_paths import found
from grandopt.cli.console import complain
from grandopt.cli.exit_codes import ExitCode
from grandopt.cli.option_groups import CheckpointReading
from grandopt.cli.option_values import (
    parse_bounds,
    parse_distribution,
    parse_fix,
    parse_inputs,
    parse_names,
    parse_states,
    parse_statistics,
    parse_vecnormalize,
)
from grandopt.errors import ConfigError, InputError

if TYPE_CHECKING:
    from grandopt.config.load import Overrides
    from grandopt.config.schema import AgentConfig, Job
    from grandopt.reporting.report import Report


def job(
    checkpoints: Sequence[Path],
    reading: CheckpointReading | None = None,
    config: Path | None = None,
    overrides: Overrides | None = None,
) -> Job:
    """The job that a command line describes.

    Checkpoints named on it, and those in folders that are named, are the agents; without any, those of
    `config` or `./grandopt.yaml`, else the reference agents. Where there are several, one that cannot be read
    does not stop the others. Raises ConfigError for options that do not fit together or have wrong values.
    """
    from grandopt.config.load import DEFAULT_FILE, Overrides, load_file, resolve
    from grandopt.config.schema import FileConfig

    reading = reading or CheckpointReading()
    if not checkpoints and reading.given():
        raise ConfigError(
            f"{', '.join(reading.given())} say how to read a checkpoint, but none is named; "
            f"name one, or write the fields into grandopt.yaml"
        )
    path = config
    if path is None and not checkpoints and DEFAULT_FILE.is_file():
        path = DEFAULT_FILE
    file = FileConfig() if path is None else load_file(path)
    agents = _agents(found(checkpoints), reading)
    resolved = resolve(file, agents, overrides or Overrides())
    return resolved.model_copy(update={"go_on": len(agents) > 1})


def refuse_unreadable(described: Job) -> None:
    """Refuse checkpoints where a look at the file suffices, and feature levels that cannot be had here:
    before torch is imported, which takes seconds. Of several checkpoints that go on without one another, none
    is refused here.

    Raises CheckpointError or UntrustedError, with the agent's name in front; ConfigError for the levels, and
    for a fleet's store that does not exist or refuses this machine.
    """
    from grandopt.compiler.backends.native.level_choice import check_levels
    from grandopt.compiler.checkpoints.detect import preflight

    check_levels(described.levels)
    if described.fleet.store is not None:
        from grandopt.artifacts.fleet.opener import open_fleet

        keys, key = described.fleet.require_signature, described.fleet.signing_key
        open_fleet(described.fleet.store, lambda line: None, keys=keys, key=key)  # the run tells the rest
    for name, agent in described.agents.items() if not described.go_on else ():
        if agent.checkpoint is not None:
            try:
                preflight(agent.checkpoint, trust=agent.trust, to_run=True)
            except InputError as error:
                raise type(error)(f"{name}: {error}") from error


def _agents(checkpoints: Sequence[Path], reading: CheckpointReading) -> dict[str, AgentConfig]:
    from grandopt.config.load import agent_names
    from grandopt.config.schema import AgentConfig

    if reading.network is not None and reading.network.count(":") != 1:
        raise ConfigError(
            f"--network must read MODULE:CALLABLE, such as my_agents:Actor, or mlp:relu,tanh for a plain "
            f"stack, got {reading.network!r}"
        )
    return {
        name: AgentConfig(
            checkpoint=path,
            key=reading.key,
            network=reading.network,
            inputs=parse_inputs(reading.input),
            fix=parse_fix(reading.fix),
            method=reading.method,
            vecnormalize=parse_vecnormalize(reading.vecnormalize),
            trust=reading.trust,
            outputs=parse_names(reading.outputs),
            state=parse_states(reading.state),
            framework=reading.framework,
            activation=reading.activation,
            statistics=parse_statistics(reading.statistics),
            bounds=parse_bounds(reading.action_bounds),
            distribution=parse_distribution(reading.distribution),
        )
        for name, path in agent_names(checkpoints).items()
    }


def outcome(report: Report, *, strict: bool = False) -> ExitCode:
    """The exit code for a report, after one line on stderr for each agent that failed.

    Bad input where any agent failed for it and none came through; else a failed check. With `strict` a missed
    target is one too, and an unsteady measurement of an agent that met its targets is inconclusive.
    """
    from grandopt.reporting.verdict import is_unsteady

    failed = [agent for agent in report.agents if agent.status == "failed"]
    for agent in failed:
        complain(f"error: {agent.name}: {agent.reason}")
    missed = [agent for agent in report.agents if strict and agent.targets.met is False]
    for agent in missed:
        complain(f"error: {agent.name}: target missed: {'; '.join(agent.targets.misses)}")
    none_done = all(agent.status in ("failed", "not run") for agent in report.agents)
    if none_done and any(agent.error_kind == "input" for agent in failed):
        return ExitCode.BAD_INPUT
    if failed or missed:
        return ExitCode.FAILED
    unsteady = [agent.name for agent in report.agents if strict and is_unsteady(agent)]
    if unsteady:
        complain(f"inconclusive: the measurement was unstable for {', '.join(unsteady)}; run again when idle")
        return ExitCode.INCONCLUSIVE
    return ExitCode.DONE
