"""Options that belong together, each group one dataclass: a command takes a group as one parameter.

An option of a family is written down here once, with its help and its default; `with_option_groups` spreads
the groups of a command over its command line.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from grandopt.cli import options
from grandopt.cli.console import Terminal
from grandopt.cli.option_values import parse_levels, parse_threads
from grandopt.errors import ConfigError

if TYPE_CHECKING:
    from grandopt.config.load import Overrides

ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class JobOptions:
    """Which agents are meant, and how to work on them."""

    config: options.Config = None
    agent: options.Agents = None
    profile: options.Profile = None
    output: options.Output = None
    samples: options.Samples = None
    engine: options.Engines = None
    precision: options.Precisions = None
    levels: options.Levels = None
    threads: options.Threads = None
    budget: options.Budget = None
    seed: options.Seed = None
    store: options.FleetStore = None
    store_keys: options.StoreKeys = None
    store_signing_key: options.StoreSigningKey = None

    def overrides(self, **more: Any) -> Overrides:
        """What was asked for; `more` are fields of Overrides that not every command has an option for.

        Raises ConfigError for `--threads` that is neither a number nor "auto", and for `--levels` that is no
        list of names.
        """
        from grandopt.config.load import Overrides

        asked = Overrides(
            profile=self.profile,
            engines=tuple(self.engine) if self.engine else None,
            precisions=tuple(self.precision) if self.precision else None,
            levels=parse_levels(self.levels),
            threads=parse_threads(self.threads),
            budget_s=self.budget,
            seed=self.seed,
            output=self.output,
            only=tuple(self.agent or ()),
            store=self.store,
            store_keys=self.store_keys,
            store_signing_key=self.store_signing_key,
        )
        return dataclasses.replace(asked, **more)


@dataclass(frozen=True)
class CheckpointReading:
    """How checkpoints that are named on the command line are to be read."""

    key: options.Key = None
    network: options.Network = None
    input: options.Inputs = None
    vecnormalize: options.VecNormalize = "auto"
    trust: options.Trust = False
    fix: options.Fix = None
    method: options.Method = None
    outputs: options.Outputs = None
    state: options.States = None
    framework: options.Framework = None
    activation: options.Activation = None
    statistics: options.Statistics = None
    action_bounds: options.ActionBounds = None
    distribution: options.DistributionOption = None

    def given(self) -> list[str]:
        """The options that were used."""
        return [
            f"--{field.name.replace('_', '-')}"
            for field in dataclasses.fields(self)
            if (getattr(self, field.name) or field.default) != field.default
        ]


@dataclass(frozen=True)
class LoadOptions:
    """Which load is put on what is served."""

    load: options.Load = False
    rate: options.Rates = None
    arrivals: options.Arrivals = "poisson"
    callers: options.Callers = None
    deadline_ms: options.DeadlineMs = None
    seconds: options.Seconds = None

    def asked(self, suite: str) -> bool:
        """Whether load is asked for; raises ConfigError beside another suite, and for its options alone."""
        if self.load and suite != "agents":
            raise ConfigError(f"--load and --suite {suite} are two benchmarks: ask for one")
        if not self.load and self.given():
            raise ConfigError(f"{', '.join(self.given())}: only with --load")
        return self.load

    def given(self) -> list[str]:
        """The options that were used, beside --load itself."""
        return [
            f"--{field.name.replace('_', '-')}"
            for field in dataclasses.fields(self)
            if field.name != "load" and (getattr(self, field.name) or field.default) != field.default
        ]


@dataclass(frozen=True)
class Saying:
    """How a command says what came out."""

    json: options.Json = False
    quiet: options.Quiet = False
    verbose: options.Verbose = False

    def terminal(self) -> Terminal:
        """Where results and progress go."""
        return Terminal(as_json=self.json, quiet=self.quiet, verbose=self.verbose)


GROUPS = (JobOptions, CheckpointReading, LoadOptions, Saying)


def with_option_groups(command: Callable[..., ResultT]) -> Callable[..., ResultT]:
    """A command in the place of whose parameters of a group come that group's options.

    Typer makes a command line of a function's signature; the result has the command's other parameters
    first, and then one for each field of each group. Where the command has a parameter of a field's name
    itself, with words of its own, the field gets that one's value.
    """
    hints = get_type_hints(command, include_extras=True)
    parameters = inspect.signature(command).parameters.values()
    groups = {
        parameter.name: hints[parameter.name] for parameter in parameters if hints[parameter.name] in GROUPS
    }
    own = [
        parameter.replace(annotation=hints[parameter.name])
        for parameter in parameters
        if parameter.name not in groups
    ]
    names = {parameter.name for parameter in own}
    shared = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=field.default,
            annotation=get_type_hints(group, include_extras=True)[field.name],
        )
        for group in groups.values()
        for field in dataclasses.fields(group)
        if field.name not in names
    ]

    @wraps(command)
    def joined(**values: Any) -> ResultT:
        made = {
            name: group(**{field.name: values[field.name] for field in dataclasses.fields(group)})
            for name, group in groups.items()
        }
        return command(**{name: value for name, value in values.items() if name in names}, **made)

    spread = [*own, *shared]
    joined.__dict__["__signature__"] = inspect.Signature(spread)
    joined.__annotations__ = {parameter.name: parameter.annotation for parameter in spread}
    return joined
