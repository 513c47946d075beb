"""The settings that a training run wrote down beside its checkpoints.

Isaac Lab puts `params/agent.yaml` into the folder of a run: beside the checkpoints of RSL-RL, one above those
of rl_games (`nn/`) and skrl (`checkpoints/`). Other trainers call theirs `config.yaml`. Such a file is data
here: a slice (`!!python/object/apply:builtins.slice`) or tuple in it becomes the list of its parts, and what
else Python would build of it is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from grandopt import limits
from grandopt.compiler.checkpoints.files import sha256
from grandopt.config import yaml_file
from grandopt.errors import ConfigError

PLACES = (Path("params", "agent.yaml"), Path("config.yaml"))
"""Where trainers write them, from the folder of the run on."""

PYTHON = "tag:yaml.org,2002:python/"
LISTS = (f"{PYTHON}object/apply:builtins.slice", f"{PYTHON}tuple")


class _Loader(yaml.SafeLoader):
    """Plain data; lists for slices and tuples, and nothing for what else Python would build."""


def _listed(loader: yaml.SafeLoader, node: Any) -> list[Any]:
    return loader.construct_sequence(node, deep=True)


for _tag in LISTS:
    _Loader.add_constructor(_tag, _listed)
_Loader.add_multi_constructor(PYTHON, lambda loader, suffix, node: None)


@dataclass(frozen=True)
class RunSettings:
    """The settings of a run, and the file that they are from; without any where no file was found.

    `problem` says why a file that was found could not be read.
    """

    path: Path | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    problem: str | None = None

    def text(self, *keys: str) -> str | None:
        """The text at `keys`, one inside the other; None where there is none."""
        found = self.at(*keys)
        return found if isinstance(found, str) else None

    def at(self, *keys: str) -> Any:
        """What stands at `keys`, one inside the other; None where there is nothing."""
        here: Any = self.values
        for key in keys:
            here = here.get(key) if isinstance(here, Mapping) else None
        return here

    def unread(self) -> str:
        """For an error: why the settings that are there say nothing; "" where there are none, or they do."""
        return "" if self.problem is None else f" ({self.problem})"

    def details(self) -> dict[str, Any]:
        """For the source of an agent: the file that something was taken from."""
        return (
            {} if self.path is None else {"settings": {"path": str(self.path), "sha256": sha256(self.path)}}
        )


def beside(path: Path) -> RunSettings:
    """The settings of the run that the checkpoint at `path` is of, from its folder or the one above."""
    for folder in (path.parent, path.parent.parent):
        for place in PLACES:
            file = folder / place
            if file.is_file():
                return _read(file)
    return RunSettings()


def _read(file: Path) -> RunSettings:
    try:
        _, data = yaml_file.parsed(limits.text(file, limits.CONFIG_BYTES), file, _Loader)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        return RunSettings(problem=f"{limits.shortened(file)} cannot be read ({reason})")
    except ConfigError as error:
        return RunSettings(problem=str(error))
    return RunSettings(file, data if isinstance(data, Mapping) else {})
