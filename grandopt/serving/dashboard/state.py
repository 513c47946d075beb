"""All that the page is told at once, and the minutes before it was opened."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Sequence

from grandopt.runtime.engine.engine import Engine
from grandopt.runtime.engine.shadow_report import ShadowReport
from grandopt.runtime.engine.stats import EngineStats
from grandopt.runtime.monitoring.alerts import Alert
from grandopt.runtime.monitoring.measures import MEASURES, PROCESS, values
from grandopt.runtime.monitoring.monitor import Monitor
from grandopt.runtime.monitoring.recommendations.advice import Recommendations
from grandopt.serving.dashboard.agent_state import Json, agent_state

DRAWN = ("rate", "p50", "p99", "p99.9", "depth", "busy", "hit_rate")
"""Measures of an agent that are drawn over time."""
DRAWN_OF_PROCESS = ("resident", "cores")
MINUTES = 5
MOST_POINTS = 600


def server_state(
    engine: Engine, index: Sequence[Json], shadows: Iterable[ShadowReport], *, version: str, ready: bool
) -> Json:
    """The figures of now; `index` is that of the repository. Any thread may call it."""
    stats = engine.stats()
    last = None if stats.monitoring is None else stats.monitoring.last
    figures = {} if last is None else values(last)
    return {
        "at": time.time(),
        "server": {
            "version": version,
            "ready": ready,
            "profile": stats.profile,
            "parts": list(stats.parts),
            "seconds": stats.seconds,
            "pid": os.getpid(),
            "monitored": stats.monitoring is not None,
        },
        "process": _process(stats, figures.get(PROCESS, {})),
        "agents": [
            agent_state(agent, None if last is None else last.agents.get(name), figures.get(name, {}))
            for name, agent in stats.agents.items()
        ],
        "models": list(index),
        "alerts": [] if stats.monitoring is None else [_alert(one) for one in stats.monitoring.alerts],
        **_recommendations(engine.get_optimization_recommendations()),
        "shadows": [_shadow(one) for one in shadows],
    }


def past(monitor: Monitor | None, agents: Sequence[str]) -> Json:
    """The last MINUTES of what is drawn: seconds since 1970 under "at", and None where nothing was told."""
    if monitor is None:
        return {"process": {}, "agents": {}}
    return {
        "process": _series(monitor, PROCESS, DRAWN_OF_PROCESS),
        "agents": {name: _series(monitor, name, DRAWN) for name in agents},
    }


def _series(monitor: Monitor, agent: str, measures: Sequence[str]) -> dict[str, list[float | None]]:
    found: dict[str, list[float | None]] = {}
    begin = time.time() - 60 * MINUTES
    for measure in measures:
        series = monitor.history.series(agent, measure)
        kept = series.times >= begin
        times, told = series.times[kept][-MOST_POINTS:], series.values[kept][-MOST_POINTS:]
        found["at"] = [round(float(at), 3) for at in times]
        found[measure] = [None if math.isnan(value) else float(value) for value in told]
    return found


def _process(stats: EngineStats, figures: dict[str, float]) -> Json:
    last = None if stats.monitoring is None else stats.monitoring.last
    if last is None:
        return {"figures": figures}
    process = last.process
    return {
        "figures": figures,
        "memory_limit": process.memory_limit,
        "granted": process.granted,
        "gpus": [vars(gpu) for gpu in process.gpus],
    }


def _alert(alert: Alert) -> Json:
    return {
        "name": alert.rule.name,
        "agent": alert.agent,
        "state": alert.state,
        "severity": alert.rule.severity,
        "measure": alert.rule.measure,
        "unit": MEASURES[alert.rule.measure].unit,
        "direction": alert.rule.direction,
        "threshold": alert.rule.threshold,
        "value": alert.value,
        "since": alert.since,
    }


def _recommendations(told: Recommendations) -> Json:
    return {
        "advice": [{**vars(one), "evidence": dict(one.evidence)} for one in told.advice],
        "silent": [vars(one) for one in told.silent],
    }


def _shadow(report: ShadowReport) -> Json:
    low, high = report.interval
    times = report.times
    return {
        "agent": report.agent,
        "engine": report.candidate.engine,
        "digest": report.candidate.digest[:12],
        "active": report.active,
        "share": report.share,
        "seen": report.seen,
        "compared": report.compared,
        "disagreed": report.disagreed,
        "rate": report.rate,
        "low": low,
        "high": high,
        "failed": report.failed,
        "error": report.error,
        "dropped": report.dropped,
        "live_row_s": None if times.live_row_ns is None else times.live_row_ns / 1e9,
        "candidate_row_s": None if times.candidate_row_ns is None else times.candidate_row_ns / 1e9,
    }
