"""What comparing a candidate with its original found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from grandopt.config.engine import Precision
from grandopt.reason import Reason, reason_fields, reason_of
from grandopt.verification.evidence import EvidenceKind

Norm = Literal["max_abs", "relative_l2", "margin"]


@dataclass(frozen=True)
class OutputCheck:
    """One output, where it came closest to its limit (or furthest beyond).

    `norm` says what `error`, `limit` and `yardstick` (the original's own error) are: "max_abs" in units
    of the output, "relative_l2" as a fraction, or, for a decision, "margin": the largest margin, as a
    fraction of the largest score, at which the decision differed. `case` is where.
    """

    name: str
    norm: Norm
    error: float
    limit: float
    yardstick: float
    case: str | None = None

    @property
    def passed(self) -> bool:
        """Whether the error is within the limit; an error that is not a number is not."""
        return self.error <= self.limit


@dataclass(frozen=True)
class Verification:
    """Whether a candidate is the same agent, and the figures that say so.

    `reason` is None when it passed, else the first check that failed, and by how much. `agreement` is the
    fraction of `agreement_samples` (those whose margin exceeds the error) with the same action, None where
    the agent has no action to compare. `cases` counts the calls compared, `steps` those of
    episodes through which an agent with state was stepped, `boundary_probes` the inputs next
    to decision boundaries, `populations` the kinds of draws on each of which it was held to the limits.
    `evidence` is what was known of the inputs. `skipped` says what could not be checked and why.
    """

    passed: bool
    reason: Reason | None
    precision: Precision
    outputs: tuple[OutputCheck, ...] = ()
    agreement: float | None = None
    agreement_samples: int = 0
    cases: int = 0
    steps: int = 0
    boundary_probes: int = 0
    populations: int = 0
    evidence: EvidenceKind = "none"
    worst_case: str | None = None
    reference_precision: str = "float64"
    skipped: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Plain data for a manifest or a report; a number that is not finite becomes None."""
        data: dict[str, Any] = _plain({**asdict(self), **reason_fields(self.reason)})
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Verification:
        """The inverse of `to_json`; an error that was not finite comes back as NaN.

        Raises KeyError, TypeError or ValueError for other data.
        """
        outputs = tuple(
            OutputCheck(**{**item, "error": math.nan if item["error"] is None else item["error"]})
            for item in data["outputs"]
        )
        plain = {name: value for name, value in data.items() if name not in ("reason_code", "remedy")}
        reason = reason_of(data)
        return cls(**{**plain, "reason": reason, "outputs": outputs, "skipped": tuple(data["skipped"])})


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
