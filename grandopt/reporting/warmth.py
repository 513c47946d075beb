"""The two figures of a call in words: warm, and after other work."""

from __future__ import annotations

from grandopt.reporting.figures import Figures
from grandopt.reporting.report import AgentReport
from grandopt.reporting.units import duration, size


def after_other_work(figures: Figures) -> str | None:
    """The median after other work, and how much memory that was; None where it was not measured."""
    if figures.after_other_work_us is None or figures.other_work_bytes is None:
        return None
    return f"{duration(figures.after_other_work_us)} (on {size(figures.other_work_bytes)})"


def like_with_like(agent: AgentReport) -> str | None:
    """How many times as fast the shipped agent is by each figure; None where one was not measured."""
    before = agent.original
    after = None if agent.shipped is None else agent.shipped.figures
    if before is None or after is None or agent.speedup is None:
        return None
    if not (before.warm_us and before.after_other_work_us and after.warm_us and after.after_other_work_us):
        return None
    warm, other = before.warm_us / after.warm_us, before.after_other_work_us / after.after_other_work_us
    return f"{warm:.3g}× warm, {other:.3g}× after other work"
