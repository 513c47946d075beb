"""How much trying may cost: a bound on the time in trial settings, and rests for what has lost."""

from __future__ import annotations

from dataclasses import dataclass

from grandopt.errors import ConfigError


@dataclass(frozen=True)
class TrialLimits:
    """Bounds of trials that ended without a gain.

    The time spent in their settings is at most `steady` of all time, plus `allowance_s` at the start and
    after a change of the workload, during which it is at most `anew` of the time. The allowance grows back
    at `regrowth` of the time, so a workload that keeps changing cannot be tried on without end. In all,
    then, at most `(steady + regrowth) · time + allowance_s`, and one trial. That ends when its
    setting has had `trial_s` and does not look better. What has lost rests `rest_s`,
    twice as long each time it loses, at most `longest_rest_s`.
    """

    steady: float = 0.01
    anew: float = 0.1
    allowance_s: float = 1.0
    regrowth: float = 0.01
    trial_s: float = 1.0
    rest_s: float = 10.0
    longest_rest_s: float = 3600.0

    def __post_init__(self) -> None:
        for name in ("steady", "anew"):
            if not 0 < getattr(self, name) <= 0.5:
                raise ConfigError(
                    f"{name} must be a share above 0 and at most 0.5, got {getattr(self, name)}"
                )
        for name in ("allowance_s", "regrowth", "trial_s", "rest_s"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} must be 0 or a positive number, got {getattr(self, name)}")
        if self.longest_rest_s < self.rest_s:
            raise ConfigError(f"longest_rest_s={self.longest_rest_s} is less than rest_s={self.rest_s}")


class TrialBudget:
    """Says when the next trial may begin. Times are in seconds of the caller's clock."""

    def __init__(self, limits: TrialLimits, now: float) -> None:
        self._limits = limits
        self._allowance = limits.allowance_s
        self._left = limits.allowance_s  # of the allowance, for this workload
        self._grown = now
        self.next_at = now
        """No trial may begin before."""
        self._rests: dict[tuple[str, str], tuple[int, float]] = {}

    def changed(self, now: float) -> None:
        """The workload changed: everything may be tried anew, as far as the allowance has grown back."""
        grown = self._left + self._limits.regrowth * (now - self._grown)
        self._left = min(self._limits.allowance_s, grown)
        self._grown = now
        self._rests.clear()
        if self._left > 0:
            self.next_at = min(self.next_at, now)

    def lost(self, name: str, direction: str, spent: float, now: float) -> None:
        """A trial without a gain spent so many seconds in its setting."""
        quick = min(spent, self._left)
        self._left -= quick
        wait = quick / self._limits.anew + (spent - quick) / self._limits.steady
        self.next_at = max(self.next_at, now + wait)
        losses = self._rests.get((name, direction), (0, 0.0))[0] + 1
        rest = min(self._limits.rest_s * 2 ** min(losses - 1, 60), self._limits.longest_rest_s)
        self._rests[name, direction] = losses, now + rest

    def won(self, name: str, direction: str) -> None:
        """A trial had a gain: it may go on in that direction at once."""
        self._rests.pop((name, direction), None)

    def losses(self, name: str, direction: str) -> int:
        """How often it has lost on this workload."""
        return self._rests.get((name, direction), (0, 0.0))[0]

    def rests(self, name: str, direction: str, now: float) -> bool:
        """Whether it lost too recently to be tried."""
        return now < self._rests.get((name, direction), (0, 0.0))[1]
