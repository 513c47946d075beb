"""The options that `optimize`, `benchmark` and `tune` have in common, as one parameter of a command."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, get_type_hints

from grandopt.cli import options
from grandopt.cli.console import Terminal
from grandopt.cli.exit_codes import ExitCode
from grandopt.cli.job import Reading, Settings

PARAMETER = "given"


@dataclass(frozen=True)
class JobOptions:
    """Which agents are meant, how to work on them, how to read them, and how to say what came out."""

    config: options.Config = None
    agent: options.Agents = None
    profile: options.Profile = None
    output: options.Output = None
    samples: options.Samples = None
    engine: options.Engines = None
    precision: options.Precisions = None
    threads: options.Threads = None
    budget: options.Budget = None
    seed: options.Seed = None
    key: options.Key = None
    network: options.Network = None
    input: options.Inputs = None
    vecnormalize: options.VecNormalize = "auto"
    trust: options.Trust = False
    json: options.Json = False
    quiet: options.Quiet = False
    verbose: options.Verbose = False

    def terminal(self) -> Terminal:
        """Where results and progress go."""
        return Terminal(as_json=self.json, quiet=self.quiet, verbose=self.verbose)

    def reading(self) -> Reading:
        """How the checkpoints named on the command line are to be read."""
        return Reading(self.key, self.network, self.input, self.vecnormalize, self.trust)

    def settings(
        self, *, trials: int | None = None, strict: bool | None = None, resume: bool = True
    ) -> Settings:
        """What is asked for beside the agents; the arguments are options that not every command has."""
        return Settings(
            config=self.config,
            profile=self.profile,
            agents=self.agent,
            engines=self.engine,
            precisions=self.precision,
            threads=self.threads,
            budget=self.budget,
            trials=trials,
            seed=self.seed,
            output=self.output,
            strict=strict,
            resume=resume,
        )


def with_job_options(command: Callable[..., ExitCode]) -> Callable[..., ExitCode]:
    """A command in the place of whose parameter `given: JobOptions` come the options of JobOptions.

    Typer makes a command line of a function's signature; the result has the command's other parameters
    first, and then one for each field.
    """
    hints = get_type_hints(command, include_extras=True)
    own = [
        parameter.replace(annotation=hints[parameter.name])
        for parameter in inspect.signature(command).parameters.values()
        if parameter.name != PARAMETER
    ]
    kinds = get_type_hints(JobOptions, include_extras=True)
    shared = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=field.default,
            annotation=kinds[field.name],
        )
        for field in dataclasses.fields(JobOptions)
    ]

    @wraps(command)
    def joined(**values: Any) -> ExitCode:
        given = JobOptions(**{parameter.name: values.pop(parameter.name) for parameter in shared})
        return command(**values, **{PARAMETER: given})

    parameters = [*own, *shared]
    joined.__dict__["__signature__"] = inspect.Signature(parameters)
    joined.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return joined
