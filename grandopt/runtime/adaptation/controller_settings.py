"""How long the windows of a controller are, and how much its trials may cost."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from grandopt.errors import ConfigError
from grandopt.runtime.adaptation.budget import TrialLimits


@dataclass(frozen=True)
class ControllerSettings:
    """Lengths in seconds: `window_s` of a trial's windows, up to `longest_s` where fewer than 128 answers
    came; `watch_s` of the windows between trials, up to `calm_s` where there is nothing to try, `idle_s`
    between looks at a service that nobody uses; `floor_s` at least between two changes."""

    window_s: float = 0.05
    longest_s: float = 2.0
    watch_s: float = 0.1
    calm_s: float = 0.4
    idle_s: float = 2.0
    floor_s: float = 0.5
    limits: TrialLimits = field(default_factory=TrialLimits)

    def __post_init__(self) -> None:
        for name in ("window_s", "longest_s", "watch_s", "calm_s", "idle_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be a positive number of seconds, got {getattr(self, name)}")
        if not 0 <= self.floor_s < math.inf:
            raise ConfigError(f"floor_s must be 0 or a positive number of seconds, got {self.floor_s}")
