"""What a benchmark measured, as Rich tables: one per agent, who leads, and the means over all agents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from grandopt.reporting.figures import RatioReport
from grandopt.reporting.log import one_line
from grandopt.reporting.units import duration, factor, interval, ratio

if TYPE_CHECKING:
    from rich.console import RenderableType

    from grandopt.reporting.report import (
        AgentReport,
        BatchFigures,
        Figures,
        LeadReport,
        MeanLeadReport,
        Report,
    )

NOTHING = "–"
LEGEND = (
    "float32 where a name says nothing else; ~: unstable; obs@N: per observation in batches of N; cpu: "
    "core-seconds per million calls; behind: how many times as fast the fastest is, with its 95 % interval; "
    "limit: p50 as a multiple of the least that this machine could need"
)


def benchmark_tables(report: Report) -> list[RenderableType]:
    """One table per agent, why the others were not measured, and who leads; fits 80 columns."""
    parts: list[RenderableType] = []
    for agent in report.agents:
        if agent.candidates:
            parts += [Text(), *_agent(agent)]
    if parts:
        parts += [Text(), Text(LEGEND, style="dim")]
    return [*parts, *(_plain(_mean(lead), "bold") for lead in report.leads)]


def _agent(agent: AgentReport) -> list[RenderableType]:
    batches = [item.batch for item in agent.original_batches]
    columns = ["p50", "p99", *(f"obs@{batch}" for batch in batches), "cpu", "behind", "limit"]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("engine", overflow="fold", ratio=1)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    rows = [(item.label, item.figures, item.batches, item.behind) for item in agent.candidates]
    rows.append(("original", agent.original, agent.original_batches, agent.original_behind))
    measured = [row for row in rows if row[1] is not None]
    for row in sorted(measured, key=lambda row: _median(row[1])):
        table.add_row(*_row(*row, batches))
    reasons = [
        *((item.label, f"{item.status}: {item.reason}") for item in agent.candidates if item.reason),
        *((refusal.stage, refusal.reason) for refusal in agent.refusals),
    ]
    return [
        _plain(agent.name, "bold"),
        table,
        *(_plain(f"{_short(what)}: {why}", "dim") for what, why in reasons),
        *(_plain(_lead(lead), "green" if lead.ratio.value > 1 else "") for lead in _shown(agent.leads)),
    ]


def _median(figures: Figures | None) -> float:
    return 0.0 if figures is None else figures.p50_us


def _row(
    label: str,
    figures: Figures | None,
    batches: Iterable[BatchFigures],
    behind: RatioReport | None,
    columns: Sequence[int],
) -> list[Text]:
    if figures is None:
        return []
    by_batch = {item.batch: item.figures for item in batches}
    each = [
        NOTHING if batch not in by_batch else duration(by_batch[batch].p50_us / batch) for batch in columns
    ]
    cells = [
        duration(figures.p50_us) + ("" if figures.stable is not False else " ~"),
        NOTHING if figures.p99_us is None else duration(figures.p99_us),
        *each,
        NOTHING if figures.cpu_s_per_million is None else f"{figures.cpu_s_per_million:.3g}",
        _behind(behind),
        NOTHING if figures.limit_factor is None else _multiple(figures.limit_factor),
    ]
    return [_plain(_short(label)), *map(_plain, cells)]


def _multiple(value: float) -> str:
    return f"{value:.3g}×" if value < 1000 else f"{value:.0f}×"


def _behind(value: RatioReport | None) -> str:
    if value is None:
        return NOTHING
    return "fastest" if value.low == value.high == 1 else f"{factor(value)} {interval(value)}"


def _short(label: str) -> str:
    return one_line(label).replace("/float32", "", 1)


def _shown(leads: Sequence[LeadReport]) -> list[LeadReport]:
    """Without those over all precisions that say the same as those at float32."""
    known = {(lead.batch, lead.label, lead.rival_label) for lead in leads if lead.precision == "float32"}
    return [
        lead
        for lead in leads
        if lead.precision == "float32" or (lead.batch, lead.label, lead.rival_label) not in known
    ]


def _lead(lead: LeadReport) -> str:
    where = "float32" if lead.precision == "float32" else "any precision"
    where += "" if lead.batch == 1 else f", batch {lead.batch}"
    own, external_engine = _named(lead.engine, lead.label), _named(lead.rival, lead.rival_label)
    if lead.ratio.value >= 1:
        return f"{where}: {own} is {ratio(lead.ratio)} as fast as the fastest other engine, {external_engine}"
    return f"{where}: {external_engine} is {ratio(_inverse(lead.ratio))} as fast as {own}"


def _named(engine: str, label: str) -> str:
    short = _short(label)
    return engine if short == engine else f"{engine} ({short})"


def _inverse(value: RatioReport) -> RatioReport:
    ends = {"value": 1 / value.value, "low": 1 / value.high, "high": 1 / value.low}
    return value.model_copy(update=ends)


def _mean(lead: MeanLeadReport) -> str:
    where = "float32" if lead.precision == "float32" else "any precision"
    where += "" if lead.batch == 1 else f", batch {lead.batch}"
    return (
        f"{where}: {lead.engine} is {lead.ratio:.2f}× as fast as the fastest other engine "
        f"(geometric mean over {lead.agents} agents; {lead.least:.2f} to {lead.largest:.2f})"
    )


def _plain(text: str, style: str = "") -> Text:
    return Text(one_line(text), style=style)
