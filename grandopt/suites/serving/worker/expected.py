"""What an agent must answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from grandopt.errors import MeasurementError
from grandopt.measurement.wire.arrays import load_inputs
from grandopt.signature import Array
from grandopt.suites.serving.wire import ServedAgent


class Expected:
    """The observations of an agent in turn, and the answer to each, by which answers are checked.

    `error` is the largest relative L2 error so far.
    """

    def __init__(self, observations: Sequence[Array], answers: Sequence[Array], limit: float) -> None:
        self.observations = list(observations)
        self.error = 0.0
        self._answers = [np.asarray(answer, np.float64) for answer in answers]
        self._limit = limit

    def check(self, place: int, answer: Any) -> None:
        """Raises MeasurementError when this is not the answer to the observation at `place`."""
        given = answer if isinstance(answer, tuple | list) else (answer,)
        if len(given) != len(self._answers):
            raise MeasurementError(f"{len(given)} outputs were answered instead of {len(self._answers)}")
        for wanted, values in zip(self._answers, given, strict=True):
            one = wanted[place]
            if np.shape(values) != one.shape:
                raise MeasurementError(f"an answer has the shape {np.shape(values)} instead of {one.shape}")
            error = float(np.linalg.norm(values - one) / (np.linalg.norm(one) or 1.0))
            if not error <= self._limit:
                raise MeasurementError(
                    f"a wrong answer: observation {place} was answered with a relative error of {error:.1e}, "
                    f"above {self._limit:g}"
                )
            self.error = max(self.error, error)


def originals(agent: ServedAgent) -> Expected:
    """What the original answers, within the error of its own arithmetic."""
    return _expected(agent, agent.exact)


def artifacts(agent: ServedAgent) -> Expected:
    """What the original answers, within what the artifact was admitted with."""
    return _expected(agent, agent.limit)


def _expected(agent: ServedAgent, limit: float) -> Expected:
    observations, *answers = load_inputs([agent.observations, *agent.answers])
    return Expected([*observations], answers, limit)
