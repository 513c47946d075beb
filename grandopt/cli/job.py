"""From the options of `optimize`, `benchmark` and `tune` to a resolved job, and from its report to a code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from grandopt.cli.console import complain
from grandopt.cli.exit_codes import ExitCode
from grandopt.cli.options import parse_inputs, parse_threads, parse_vecnormalize
from grandopt.errors import ConfigError

if TYPE_CHECKING:
    from grandopt.config.schema import AgentConfig, Job
    from grandopt.reporting.report import Report


@dataclass(frozen=True)
class Reading:
    """How checkpoints named on the command line are to be read."""

    key: str | None = None
    network: str | None = None
    inputs: Sequence[str] | None = None
    vecnormalize: str = "auto"
    trust: bool = False

    def given(self) -> list[str]:
        """The options that were used."""
        named = {
            "--key": self.key is not None,
            "--network": self.network is not None,
            "--input": bool(self.inputs),
            "--vecnormalize": self.vecnormalize != "auto",
            "--trust": self.trust,
        }
        return [name for name, used in named.items() if used]


@dataclass(frozen=True)
class Settings:
    """What the command line asks for beside the agents; None means that it says nothing."""

    config: Path | None = None
    profile: str | None = None
    agents: Sequence[str] | None = None
    engines: Sequence[str] | None = None
    precisions: Sequence[str] | None = None
    threads: str | None = None
    budget: float | None = None
    trials: int | None = None
    seed: int | None = None
    output: Path | None = None
    strict: bool | None = None
    resume: bool = True
    yardsticks: bool = False


def job(checkpoints: Sequence[Path], reading: Reading, settings: Settings) -> Job:
    """The job that a command line describes.

    Checkpoints named on it are the agents; without any, those of `--config` or `./grandopt.yaml`, else the
    reference agents. Raises ConfigError for options that do not fit together or have wrong values.
    """
    from grandopt.config.load import DEFAULT_FILE, Overrides, load_file, resolve
    from grandopt.config.schema import FileConfig

    if not checkpoints and reading.given():
        raise ConfigError(
            f"{', '.join(reading.given())} say how to read a checkpoint, but none is named; "
            f"name one, or write the fields into grandopt.yaml"
        )
    path = settings.config
    if path is None and not checkpoints and DEFAULT_FILE.is_file():
        path = DEFAULT_FILE
    file = FileConfig() if path is None else load_file(path)
    overrides = Overrides(
        profile=settings.profile,
        engines=tuple(settings.engines) if settings.engines else None,
        precisions=tuple(settings.precisions) if settings.precisions else None,
        threads=parse_threads(settings.threads),
        budget_s=settings.budget,
        trials=settings.trials,
        seed=settings.seed,
        output=settings.output,
        strict=settings.strict,
        resume=settings.resume,
        only=tuple(settings.agents or ()),
        yardsticks=settings.yardsticks,
    )
    return resolve(file, _agents(checkpoints, reading), overrides)


def _agents(checkpoints: Sequence[Path], reading: Reading) -> dict[str, AgentConfig]:
    from grandopt.config.load import agent_names
    from grandopt.config.schema import AgentConfig

    if reading.network is not None and reading.network.count(":") != 1:
        raise ConfigError(
            f"--network must read MODULE:CALLABLE, such as my_agents:Actor, got {reading.network!r}"
        )
    return {
        name: AgentConfig(
            checkpoint=path,
            key=reading.key,
            network=reading.network,
            inputs=parse_inputs(reading.inputs),
            vecnormalize=parse_vecnormalize(reading.vecnormalize),
            trust=reading.trust,
        )
        for name, path in agent_names(checkpoints).items()
    }


def outcome(report: Report, *, strict: bool = False) -> ExitCode:
    """The exit code for a report, after one line on stderr for each agent that failed.

    With `strict` a missed target is a failed check, and an unsteady measurement of an agent that met its
    targets is inconclusive.
    """
    from grandopt.reporting.verdict import is_unsteady

    failed = [agent for agent in report.agents if agent.status == "failed"]
    for agent in failed:
        complain(f"error: {agent.name}: {agent.reason}")
    missed = [agent for agent in report.agents if strict and agent.targets.met is False]
    for agent in missed:
        complain(f"error: {agent.name}: target missed: {'; '.join(agent.targets.misses)}")
    if any(agent.error_kind == "input" for agent in failed):
        return ExitCode.BAD_INPUT
    if failed or missed:
        return ExitCode.FAILED
    unsteady = [agent.name for agent in report.agents if strict and is_unsteady(agent)]
    if unsteady:
        complain(f"inconclusive: the measurement was unstable for {', '.join(unsteady)}; run again when idle")
        return ExitCode.INCONCLUSIVE
    return ExitCode.DONE
