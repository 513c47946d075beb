"""What an evaluator says of one configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from grandopt.errors import TuningError
from grandopt.tuning.configuration.condition import is_number

MOST = 1e100
"""Of a figure: so large that none is, and small enough to compute with."""


@dataclass(frozen=True)
class ServingFigures:
    """What was measured of a service under one configuration; None for what was not.

    Median and 99th percentile of the latency in microseconds, answers per second, those of them within their
    deadline, memory in MB (10^6 bytes). `others` holds further figures by name, for constraints. Raises
    TuningError for a figure that is no number, below 0, or above MOST.
    """

    latency_p50_us: float | None = None
    latency_p99_us: float | None = None
    throughput: float | None = None
    goodput: float | None = None
    memory_mb: float | None = None
    others: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in self.to_json().items():
            if not (is_number(value) and 0 <= value <= MOST):
                raise TuningError(
                    f"{name} must be a finite number, at least 0 and at most {MOST:g}; the evaluator gave "
                    f"{value!r:.80}"
                )

    def get(self, name: str) -> float | None:
        """One figure by its name; None where it was not measured."""
        return self.to_json().get(name)

    @property
    def given(self) -> tuple[str, ...]:
        """The names of what was measured."""
        return tuple(self.to_json())

    def to_json(self) -> dict[str, float]:
        """All figures that were measured, by name."""
        own = {name: getattr(self, name) for name in OWN}
        return {**{name: value for name, value in own.items() if value is not None}, **self.others}

    @classmethod
    def of(cls, given: Any) -> ServingFigures:
        """Figures from what an evaluator returned: an object of this class, or a mapping of names to numbers.

        Raises TuningError for anything else.
        """
        if isinstance(given, cls):
            return given
        if not isinstance(given, Mapping):
            raise TuningError(
                f"an evaluator returns ServingFigures, or a mapping such as {{'latency_p99_us': 85.0, "
                f"'throughput': 2e5}}; it returned {given!r:.80}"
            )
        plain = {str(name): _plain(value) for name, value in given.items() if value is not None}
        own = {name: plain.pop(name) for name in OWN if name in plain}
        return cls(**own, others=plain)


OWN = tuple(item.name for item in fields(ServingFigures) if item.name != "others")
"""The names that goals know."""


def _plain(value: Any) -> Any:
    # Numbers of NumPy as Python's; what is none is refused where figures are made.
    return float(value) if is_number(value) and abs(value) <= MOST else value
