"""What recommendations say to people: one by one, and all agents' together in a few lines."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from grandopt.reporting.recommendations.advice import GainReport, Recommendation, Topic
from grandopt.reporting.report import Report

TITLES: dict[Topic, str] = {
    "unstable": "measure again when the machine is idle",
    "engine": "install the engines that are missing",
    "budget": "give more time (--budget)",
    "profile": "search with the profile maximum",
    "samples": "give recorded observations (--samples)",
    "precision": "decide on a build that was refused by little",
    "threads": "try more threads a call (--threads auto)",
    "batch": "give several observations in one call",
    "headroom": "see where the time goes (benchmark --operators)",
    "bits": "fewer bits (near the machine's limit at the present precision)",
    "limit": "at the machine's limit: nothing to do",
}

OF = {"latency": "as fast", "throughput": "the throughput"}
FEW = 3
"""So many agents are named in one line; more are counted."""


@dataclass(frozen=True)
class AdviceText:
    """One recommendation in words; `command` is empty where there is none."""

    advice: str
    evidence: str
    command: str
    gain: str


def advice_text(item: Recommendation) -> AdviceText:
    """A recommendation in words."""
    return AdviceText(item.advice, item.evidence, command_text(item.command), gain_text(item.gain))


def gain_text(gain: GainReport) -> str:
    """A gain with where it comes from: "measured: 8.2× the throughput, at batch 32"."""
    if gain.factor is None or gain.of is None:
        return f"{gain.kind}: {gain.note}"
    return f"{gain.kind}: {_times(gain.factor)} {OF[gain.of]}, {gain.note}"


def command_text(command: Sequence[str]) -> str:
    """A command as a POSIX shell reads it; a call in Python as it is."""
    return command[0] if len(command) == 1 else shlex.join(command)


def in_short(report: Report) -> list[str]:
    """One line per kind of recommendation: what, for which agents, and what it may bring."""
    found: dict[Topic, list[tuple[str, GainReport]]] = {}
    for agent in report.agents:
        for item in agent.recommendations:
            found.setdefault(item.topic, []).append((agent.name, item.gain))
    lines = []
    for topic, title in TITLES.items():
        if topic in found:
            names, gains = zip(*found[topic], strict=True)
            lines.append(f"{title}: {_agents(names)}; {_gains(gains)}")
    return lines


def _agents(names: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(names))
    return ", ".join(distinct) if len(distinct) <= FEW else f"{len(distinct)} agents"


def _gains(gains: Sequence[GainReport]) -> str:
    """The gains of one kind of recommendation; where they differ in kind, the bounded ones."""
    known = [gain for gain in gains if gain.factor is not None and gain.of is not None]
    if not known:
        return "gain unknown" if any(gain.kind == "unknown" for gain in gains) else "no gain in speed"
    factors = sorted(gain.factor for gain in known if gain.factor is not None)
    low, high = _times(factors[0]), _times(factors[-1])
    extent = high if low == high else f"{low} to {high}"
    return f"{known[0].kind} {extent} {OF[known[0].of or 'latency']}"


def _times(factor: float) -> str:
    return f"{factor:.1f}×" if factor < 10 else f"{factor:,.0f}×"
