"""How an agent served under load, as a report holds it."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from grandopt.reporting.figures import PERCENTILES, Amount, Count, ReportModel

Arrivals = Literal["poisson", "constant", "recorded", "callers"]


class LoadPointReport(ReportModel):
    """One run. Rates are a second, latencies in µs from the moment when a request was due to its answer.

    `rate` is what was asked for, or `callers` how many asked again once they had their answer. `offered` were
    due, `achieved` answered within the window, `goodput` of them within the deadline, where there is one.
    `requests` were due in the window; each was `answered`, refused (`overloaded`, `deadline`), `failed`, or
    `lost` without an answer. `lateness_p50_us` and `lateness_p99_us` are from due to made: the generator's
    own delay and, where the target computes on the generator's thread, the target's. Where the generator has
    not `kept_up`, there was less load than was asked for. `sustained` says whether nothing piled up.
    `unavailable` gives the reason for every percentile that is null, `errors` counts the failed by class.
    """

    rate: Amount | None
    callers: Count | None
    offered: Amount
    achieved: Amount
    goodput: Amount | None
    requests: Count
    answered: Count
    overloaded: Count
    deadline: Count
    failed: Count
    lost: Count
    p50_us: Amount | None
    p90_us: Amount | None
    p95_us: Amount | None
    p99_us: Amount | None
    p999_us: Amount | None
    unavailable: dict[str, str]
    lateness_p50_us: Amount | None
    lateness_p99_us: Amount | None
    kept_up: bool
    sustained: bool
    errors: dict[str, int]

    @model_validator(mode="after")
    def _accounted(self) -> LoadPointReport:
        if self.answered + self.overloaded + self.deadline + self.failed + self.lost != self.requests:
            raise ValueError(f"the outcomes of {self.requests} requests do not sum to as many")
        for name in ("p50_us", *PERCENTILES):
            if getattr(self, name) is None and name not in self.unavailable:
                raise ValueError(f"{name} is null, so 'unavailable' must hold the reason under {name!r}")
        return self


class LoadCurveReport(ReportModel):
    """One way of serving an agent over rates.

    `label` names what was asked. Each point is `seconds` long after `warmup_s` of warm-up; requests arrive by
    `arrivals`. `saturation` is the highest rate that was sustained by the `criterion`, `above` the lowest
    that was not; null where it was not searched. `reason` says why there are no points.
    """

    label: str
    arrivals: Arrivals
    seconds: Amount
    warmup_s: Amount
    deadline_ms: Amount | None = None
    saturation: Amount | None = None
    above: Amount | None = None
    criterion: str | None = None
    points: tuple[LoadPointReport, ...] = ()
    reason: str | None = None

    @model_validator(mode="after")
    def _has_points(self) -> LoadCurveReport:
        if not self.points and not self.reason:
            raise ValueError(f"the load curve of {self.label!r} has no points and needs a reason")
        return self


def factors(curves: tuple[LoadCurveReport, ...]) -> list[tuple[str, float]]:
    """Of each other way of serving, how many times its saturation that of the first one is."""
    if not curves or not curves[0].saturation:
        return []
    own = curves[0].saturation
    return [(other.label, own / other.saturation) for other in curves[1:] if other.saturation]
