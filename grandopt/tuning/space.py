"""What can be chosen: a candidate, a number of threads, a batch size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from grandopt.errors import TuningError


@dataclass(frozen=True, order=True)
class Choice:
    """One point of a space."""

    candidate: str
    threads: int
    batch: int

    def to_json(self) -> dict[str, Any]:
        """Plain data for a study or a report."""
        return {"candidate": self.candidate, "threads": self.threads, "batch": self.batch}

    def differences(self, other: Choice) -> int:
        """In how many of the three the choices differ."""
        return (
            (self.candidate != other.candidate)
            + (self.threads != other.threads)
            + (self.batch != other.batch)
        )


@dataclass(frozen=True)
class ChoiceSpace:
    """All combinations of candidates (by label), thread counts and batch sizes.

    Raises TuningError for a dimension that is empty, holds a value twice, or a count below 1.
    """

    candidates: tuple[str, ...]
    threads: tuple[int, ...] = (1,)
    batches: tuple[int, ...] = (1,)

    def __post_init__(self) -> None:
        for name in ("candidates", "threads", "batches"):
            values = getattr(self, name)
            if not values:
                raise TuningError(f"nothing to tune: the space has no {name}")
            if len(set(values)) != len(values):
                raise TuningError(f"the space holds a value of {name} twice: {', '.join(map(str, values))}")
        if min(*self.threads, *self.batches) < 1:
            raise TuningError(f"threads {self.threads} and batches {self.batches} must be at least 1")

    @property
    def size(self) -> int:
        """Number of choices."""
        return len(self.candidates) * len(self.threads) * len(self.batches)

    def __iter__(self) -> Iterator[Choice]:
        for candidate in self.candidates:
            for threads in self.threads:
                for batch in self.batches:
                    yield Choice(candidate, threads, batch)

    def to_json(self) -> dict[str, Any]:
        """Plain data for a study or a report."""
        return {
            "candidates": list(self.candidates),
            "threads": list(self.threads),
            "batches": list(self.batches),
        }
