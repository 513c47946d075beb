"""The page of a fleet: one file that needs no network, no script and no other file."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from grandopt.reporting.fleet import words
from grandopt.reporting.fleet.fleet import Fleet
from grandopt.reporting.log import one_line


def render_fleet(fleet: Fleet, version: str) -> str:
    """The page, by grandopt `version`; names in it are text, whatever they hold."""
    environment = Environment(
        loader=PackageLoader("grandopt.reporting.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["one_line"] = one_line
    regressions = [change for change in fleet.changes if change.regression]
    gains: dict[str, list[str]] = {}
    for gain in fleet.gains:
        gains.setdefault(gain.machine, []).append(words.gain_words(gain))
    return environment.get_template("fleet.html.j2").render(
        version=version,
        head=words.head(fleet),
        apart=words.APART,
        kinds=[
            {
                "name": words.kind_words(kind),
                "cells": words.kind_cells(kind),
                "gains": gains.get(kind.identity, []),
            }
            for kind in fleet.kinds
        ],
        agents=[
            {
                "name": agent.name,
                "rows": [
                    {
                        "kind": words.kind_words(shipping.kind),
                        "status": shipping.agent.status,
                        "cells": words.shipping_cells(shipping),
                    }
                    for shipping in agent.shippings
                ],
                "absent": [words.kind_words(kind) for kind in agent.absent],
            }
            for agent in fleet.agents
        ],
        regressions=[words.change_words(change) for change in regressions],
        others=[words.change_words(change) for change in fleet.changes if not change.regression],
        sources=fleet.sources,
        unread=fleet.unread,
    )
