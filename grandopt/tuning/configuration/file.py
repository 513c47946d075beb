"""A configuration as a YAML file that a person can read and change."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from grandopt import limits
from grandopt.config import yaml_file
from grandopt.errors import ConfigError
from grandopt.tuning.configuration.space import Configuration, ConfigurationSpace

FILE_VERSION = 1
_HEAD = "# A configuration of grandopt's serving engine. What is left out has its default.\n"


def text_of(configuration: Mapping[str, Any], space: ConfigurationSpace) -> str:
    """The file: each value below what it says, with its unit and its range."""
    lines = [_HEAD, f"version: {FILE_VERSION}\n", "configuration:\n"]
    for name, value in space.complete(configuration).items():
        parameter = space[name]
        if parameter.description:
            lines.append(f"  # {parameter.description}\n")
        written = yaml.safe_dump({name: value}, allow_unicode=True).rstrip("\n")
        lines.append(f"  {written}  # {parameter.range}\n")
    return "".join(lines)


def read(path: Path, space: ConfigurationSpace) -> Configuration:
    """The whole configuration that a file stands for.

    Raises ConfigError naming the file for one that is missing, no YAML, of a later version, or not valid.
    """
    try:
        text = limits.text(path, limits.CONFIG_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigError(f"{limits.shortened(path)}: cannot be read ({reason})") from error
    _, data = yaml_file.parsed(text, path)
    if not isinstance(data, dict) or set(data) - {"version", "configuration"}:
        raise ConfigError(f"{path}: expected 'version:' and 'configuration:' and nothing else")
    if data.get("version") != FILE_VERSION:
        raise ConfigError(f"{path}: version {data.get('version')!r} is not known; this reads {FILE_VERSION}")
    try:
        given = data.get("configuration")
        return space.complete({} if given is None else given)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
