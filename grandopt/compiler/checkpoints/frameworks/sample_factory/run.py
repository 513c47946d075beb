"""The settings of a run of Sample Factory, and the steps that they and not the weights describe."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from grandopt import limits
from grandopt.errors import CheckpointError, first_line

FILE = "config.json"
NOTHING = 1e-6
"""Below it Sample Factory leaves out a subtraction or a division (its `EPS`)."""


class Recentre(nn.Module):
    """`(observation - subtracted) * factor`."""

    def __init__(self, subtracted: float, factor: float) -> None:
        super().__init__()
        self.subtracted, self.factor = subtracted, factor

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        """[B, *shape] to the same shape."""
        return (observation - self.subtracted) * self.factor


class ScaledTanh(nn.Module):
    """`tanh(mean / scale) * scale`."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, mean: torch.Tensor) -> torch.Tensor:
        """[B, k] to the same shape, within ±scale."""
        return torch.tanh(mean / self.scale) * self.scale


@dataclass(frozen=True)
class RunSettings:
    """What `config.json` says, each value checked when it is asked for."""

    file: Path
    values: Mapping[str, Any]

    def number(self, name: str, default: float) -> float:
        """The finite number of that name; the default of Sample Factory where there is none."""
        given = self.values.get(name, default)
        if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
            raise CheckpointError(f"{self.file}: {name} is {given!r:.60}, no number")
        return float(given)

    def word(self, name: str) -> str:
        """The text of that name, "" where there is none."""
        given = self.values.get(name)
        return given if isinstance(given, str) else ""

    def recentred(self) -> list[nn.Module]:
        """What happens to an observation before its running statistics are used: nothing, or one step."""
        subtracted, scale = self.number("obs_subtract_mean", 0.0), self.number("obs_scale", 1.0)
        if scale == 0:
            raise CheckpointError(f"{self.file}: obs_scale is 0, which observations would be divided by")
        plain = abs(subtracted) <= NOTHING and abs(scale - 1.0) <= NOTHING
        return [] if plain else [Recentre(subtracted, 1.0 / scale)]


def beside(path: Path) -> RunSettings:
    """The settings of the run that the checkpoint at `path` is of, from its folder or the one above.

    Raises CheckpointError where there are none, and for a file that is no JSON object.
    """
    places = [folder / FILE for folder in (path.parent, path.absolute().parent.parent)]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise CheckpointError(
            f"{path}: the settings of its run are missing, without which the network is not known; put the "
            f"run's {FILE} beside it or into the folder above"
        )
    try:
        values = limits.document(limits.text(file, limits.CONFIG_BYTES))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{limits.shortened(file)}: is no JSON text: {first_line(error)}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{file}: is no JSON object")
    return RunSettings(file, values)
