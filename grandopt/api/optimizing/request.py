"""What the process that optimizes is asked, and what it answers."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import cloudpickle

from grandopt.api.optimize import optimize
from grandopt.config.names import nearest
from grandopt.errors import ConfigError

SETTINGS = frozenset(inspect.signature(optimize).parameters) - {"model", "example_input", "name", "listener"}
"""The arguments of `grandopt.optimize` that can be passed on."""
ANSWER = "answer.json"
Verdict = Literal["optimized", "original kept", "failed"]


@dataclass(frozen=True)
class Answer:
    """How an optimization ended: the artifact's folder and the speed-up with its 95 % interval, or the reason
    why there is nothing better."""

    verdict: Verdict
    reason: str | None = None
    path: str | None = None
    speedup: tuple[float, float, float] | None = None

    def write(self, folder: Path) -> None:
        """Leave the answer in `folder`."""
        (folder / ANSWER).write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Answer | None:
        """The answer that was left in `folder`; None where the process ended without one."""
        try:
            data = json.loads((folder / ANSWER).read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        speedup = data.pop("speedup")
        return cls(**data, speedup=None if speedup is None else tuple(speedup))


def packed(model: Any, example_input: Any, name: str, settings: Mapping[str, Any]) -> bytes:
    """A request, with the model as it is now.

    Raises ConfigError for a setting that `grandopt.optimize` does not have; what pickling raises passes
    through.
    """
    for key in settings:
        if key not in SETTINGS:
            raise ConfigError(f"unknown setting {key!r} of an optimization{nearest(key, SETTINGS)}")
    arguments = {"model": model, "example_input": example_input, "name": name, **settings}
    return bytes(cloudpickle.dumps(arguments))
