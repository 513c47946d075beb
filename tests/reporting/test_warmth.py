"""The two figures of a call, as a report shows them."""

from __future__ import annotations

from grandopt.reporting.view import facts, figure_rows
from tests.reporting.samples import figures, optimized, shipped

BEFORE = figures(50.0, warm_us=40.0, after_other_work_us=90.0, other_work_bytes=4_000_000)
AFTER = figures(25.0, warm_us=10.0, after_other_work_us=60.0, other_work_bytes=4_000_000)


def test_both_figures_and_the_speed_up_by_each() -> None:
    agent = optimized(original=BEFORE, shipped=shipped(figures=AFTER))
    rows = {name: (before, after) for name, before, after in figure_rows(agent)}
    assert rows["p50"] == ("50.0 µs", "25.0 µs")
    assert rows["p50 warm"] == ("40.0 µs", "10.0 µs")
    assert rows["p50 after other work"] == ("90.0 µs (on 4.00 MB)", "60.0 µs (on 4.00 MB)")
    assert dict(facts(agent))["Speed-up"] == "4× warm, 1.5× after other work"


def test_where_they_were_not_measured_nothing_is_said() -> None:
    for agent in (optimized(), optimized(original=BEFORE), optimized(shipped=shipped(figures=AFTER))):
        assert "Speed-up" not in dict(facts(agent))
    assert not [row for row in figure_rows(optimized()) if "warm" in row[0] or "work" in row[0]]
