"""A fleet as plain data, for `--json`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from grandopt.reporting.fleet.fleet import Fleet, MachineKind, Shipping


def fleet_document(fleet: Fleet) -> dict[str, Any]:
    """Everything that the page shows; the rows of an agent are of one kind of machine each."""
    return {
        "machine_kinds": [_kind(kind) for kind in fleet.kinds],
        "agents": [
            {
                "name": agent.name,
                "machine_kinds": [_shipping(shipping) for shipping in agent.shippings],
                "not_run_on": [kind.key for kind in agent.absent],
            }
            for agent in fleet.agents
        ],
        "version_changes": [
            {
                **asdict(change),
                "factor": change.factor,
                "regression": change.regression,
                "hint": change.hint,
            }
            for change in fleet.changes
        ],
        "gains": [asdict(gain) for gain in fleet.gains],
        "sources": list(fleet.sources),
        "unread": [asdict(one) for one in fleet.unread],
    }


def _kind(kind: MachineKind) -> dict[str, Any]:
    return {"key": kind.key, **asdict(kind)}


def _shipping(shipping: Shipping) -> dict[str, Any]:
    run = shipping.record.run
    return {
        "machine_kind": shipping.kind.key,
        "run": {"kind": run.kind, "status": run.status, "started": run.started, "grandopt": run.grandopt},
        **asdict(shipping.agent),
    }
