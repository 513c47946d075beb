"""What the regression gate holds a candidate to: limits per figure and per agent."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from grandopt.errors import ConfigError

GateFigure = Literal["p50", "p99", "memory", "size", "accuracy", "cold_start", "instructions"]
GATE_FIGURES: tuple[GateFigure, ...] = get_args(GateFigure)

MAX_REGRESSION = 0.05
"""By how much a median latency may grow where nobody says another limit."""

MAX_DIFFERENCE = 0.02
"""Relative L2 distance of the answers of artifacts with the same weights where nobody says another limit: as
much as the default profile grants reduced precision."""

EXACT: frozenset[GateFigure] = frozenset({"size", "accuracy", "instructions"})
"""Figures without noise, which may be held to a limit of 0."""


def share(value: Any) -> float:
    """A limit as a fraction: "5%" and 0.05 are the same. Raises ValueError for anything else."""
    text = str(value).strip()
    percent = text.endswith("%")
    try:
        number = float(text.removesuffix("%")) / (100 if percent else 1)
    except ValueError:
        raise ValueError(f"a limit must be a percentage such as 5%, got {text!r}") from None
    if isinstance(value, bool) or not math.isfinite(number) or number < 0:
        raise ValueError(f"a limit must be a percentage such as 5%, got {text!r}")
    if not percent and number > 1:
        raise ValueError(f"a limit above 1 needs its percent sign (did you mean {text}%?), got {text!r}")
    return number


def limit_of(figure: GateFigure, value: float) -> float:
    """The limit if the figure can be held to it; raises ValueError for 0 where there is noise."""
    if value == 0 and figure not in EXACT:
        raise ValueError(f"a limit for {figure} must be above 0: no two measurements are alike")
    return value


def figure_of(text: str) -> GateFigure:
    """The figure of that name, in either spelling of `cold-start`; raises ValueError for an unknown one."""
    for figure in GATE_FIGURES:
        if figure == text.replace("-", "_"):
            return figure
    close = difflib.get_close_matches(text, GATE_FIGURES, 1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    raise ValueError(f"unknown figure {text!r}{hint}; known are {', '.join(GATE_FIGURES)}")


def _limits(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    named = {figure_of(str(name)): share(item) for name, item in value.items()}
    return {figure: limit_of(figure, item) for figure, item in named.items()}


Share = Annotated[float, BeforeValidator(share), Field(gt=0)]
FigureLimits = Annotated[dict[GateFigure, float], BeforeValidator(_limits)]


class GateConfig(BaseModel):
    """The part `compare:` of a grandopt.yaml. A limit is the fraction by which a figure may grow.

    `max_regression` is that of the median latency of every agent. `limits` are those of all agents, and
    `agents` those of single ones, which count more; a figure that is named nowhere is not gated, except p50
    and accuracy.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_regression: Share | None = None
    limits: FigureLimits = Field(default_factory=dict)
    agents: dict[str, FigureLimits] = Field(default_factory=dict)

    def over(self, other: GateConfig) -> GateConfig:
        """This configuration where it says something, else the other: the command line over a file."""
        names = {**other.agents, **self.agents}
        mine = {} if self.max_regression is None else {"p50"}
        return GateConfig.model_construct(
            max_regression=self.max_regression or other.max_regression,
            limits={k: v for k, v in other.limits.items() if k not in mine} | self.limits,
            agents={name: other.agents.get(name, {}) | self.agents.get(name, {}) for name in names},
        )

    def limits_of(self, agent: str) -> dict[GateFigure, float]:
        """The limits of one agent by figure, in the order of GATE_FIGURES."""
        found: dict[GateFigure, float] = {
            "p50": self.max_regression or MAX_REGRESSION,
            "accuracy": MAX_DIFFERENCE,
        }
        found |= self.limits | self.agents.get(agent, {})
        return {figure: found[figure] for figure in GATE_FIGURES if figure in found}


def parse_limits(max_regression: str | None, texts: list[str] | None) -> GateConfig:
    """The options `--max-regression 5%` and `--limit [AGENT:]FIGURE=5%`; raises ConfigError."""
    limits: dict[GateFigure, float] = {}
    agents: dict[str, dict[GateFigure, float]] = {}
    try:
        most = None if max_regression is None else limit_of("p50", share(max_regression))
    except ValueError as error:
        raise ConfigError(f"--max-regression: {error}") from error
    for text in texts or ():
        place, sign, value = text.rpartition("=")
        agent, colon, name = place.rpartition(":")
        try:
            if not sign or (colon and not agent):
                raise ValueError("must read FIGURE=5% or AGENT:FIGURE=5%")
            figure = figure_of(name)
            (agents.setdefault(agent, {}) if colon else limits)[figure] = limit_of(figure, share(value))
        except ValueError as error:
            raise ConfigError(f"--limit {text!r}: {error}") from error
    # As they were read: a limit of 200 % is no longer one without its percent sign.
    return GateConfig.model_construct(max_regression=most, limits=limits, agents=agents)
