"""Options that several commands share: written down once, the same everywhere, with the forms people type."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Annotated

import pytest
import typer

from grandopt.cli.app import command_line
from grandopt.cli.option_groups import GROUPS, CheckpointReading, JobOptions, Saying, with_option_groups
from grandopt.errors import ConfigError

SHORT = {"--config": "-c", "--output": "-o", "--profile": "-p", "--quiet": "-q", "--verbose": "-v"}


def test_an_option_of_a_group_is_the_same_in_every_command() -> None:
    group = typer.main.get_command(command_line())
    commands = group.commands  # type: ignore[attr-defined]
    seen: dict[str, set[tuple[tuple[str, ...], str | None]]] = {}
    for name in ("optimize", "benchmark", "tune", "compare"):
        for parameter in commands[name].params:
            if parameter.param_type_name == "option":
                words = (tuple(parameter.opts), parameter.help)
                seen.setdefault(parameter.opts[0], set()).add(words)
    differing = {name for name, found in seen.items() if len(found) > 1}
    assert differing <= {"--budget", "--threads"}  # a comparison's own budget and threads mean something else
    for long, short in SHORT.items():
        assert all(short in opts for opts, _ in seen[long])


def test_a_command_has_its_own_options_first_and_those_of_its_groups_after() -> None:
    @with_option_groups
    def command(
        number: int, trust: Annotated[bool, typer.Option(help="own")] = True, *, reading: CheckpointReading
    ) -> tuple[int, bool, CheckpointReading]:
        return number, trust, reading

    names = list(inspect.signature(command).parameters)
    own = {field.name: field.default for field in dataclasses.fields(CheckpointReading)}
    assert names == ["number", "trust", *(name for name in own if name != "trust")]
    number, trust, reading = command(**{**own, "number": 3, "trust": True, "key": "a"})
    assert (number, trust, reading) == (3, True, CheckpointReading(key="a", trust=True))


def test_no_two_groups_have_an_option_in_common() -> None:
    names = [field.name for group in GROUPS for field in dataclasses.fields(group)]
    assert len(names) == len(set(names))


def test_what_was_asked_for_and_nothing_else() -> None:
    asked = JobOptions(profile="basic", engine=["native"], threads="auto").overrides(trials=3)
    assert (asked.profile, asked.engines, asked.threads, asked.trials) == ("basic", ("native",), "auto", 3)
    assert (asked.precisions, asked.seed, asked.only) == (None, None, ())
    with pytest.raises(ConfigError, match="--threads must be a whole number"):
        JobOptions(threads="many").overrides()
    assert CheckpointReading(vecnormalize="none", input=["a=1"]).given() == ["--input", "--vecnormalize"]
    assert Saying(quiet=True).terminal() is not None
