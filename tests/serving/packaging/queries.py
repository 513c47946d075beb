"""Names and labels in queries of Prometheus."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

CONFIGS = Path(__file__).parents[3] / "configs"
DASHBOARD = CONFIGS / "grafana" / "grandopt.json"
RULES = CONFIGS / "prometheus" / "grandopt.rules.yaml"
OF_PROMETHEUS = {"instance", "job"}
"""Labels that Prometheus puts on what it scrapes."""
SELECTOR = re.compile(r"\b((?:grandopt|nv)_\w+|up)\b(?:\{([^}]*)\})?")
GROUPED = re.compile(r"\bby \(([^)]*)\)")
MATCHED = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")


class Used(NamedTuple):
    """A query's metrics, each with the labels that select it, and the labels that it groups by."""

    query: str
    metrics: dict[str, set[str]]
    grouped: set[str]


def used(query: str) -> Used:
    """What a query uses."""
    metrics: dict[str, set[str]] = {}
    for name, selected in SELECTOR.findall(GROUPED.sub("", query)):
        metrics.setdefault(name, set()).update(MATCHED.findall(selected))
    grouped = {label.strip() for group in GROUPED.findall(query) for label in group.split(",")}
    return Used(query, metrics, grouped)


def dashboard() -> dict[str, Any]:
    """The dashboard that ships."""
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def dashboard_queries() -> list[str]:
    """All queries of its panels and variables."""
    found = [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ())]
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            values = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"])
            assert values is not None
            found.append(f"count by ({values[2]}) ({values[1]})")
    return found


def rule_queries() -> list[str]:
    """The expressions of the rules that ship."""
    return [rule["expr"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


TRITONS = (
    "count(count(nv_inference_count) by (instance))",
    "sum(nv_inference_request_success) by (instance)",
    "sum(nv_inference_request_failure) by (instance)",
    "sum(rate(nv_inference_compute_infer_duration_us[30s])) by (model) / 1000",
    "avg(rate(nv_inference_queue_duration_us[30s])/(1+rate(nv_inference_request_success[30s])))",
)
"""What dashboards made for Triton ask for: pods there are instances here."""
