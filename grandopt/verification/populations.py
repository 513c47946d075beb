"""Kinds of inputs that an agent may live on: seeded draws beside the ordinary ones, each judged by itself.

What a build at reduced precision makes of its inputs depends on their scales: one price among returns, a
sensor at its stop, a feature that never changes. A population is one such kind. It consists of worlds, in
each of which every feature keeps to its own scale, as it does for a real agent; rows of different worlds have
little in common but the kind.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from grandopt.signature import Array, Contract, Signature, TensorSpec
from grandopt.verification.episodes import Episode
from grandopt.verification.evidence import Evidence
from grandopt.verification.free_kinds import Make, free_kinds
from grandopt.verification.inputs import draw, fitted
from grandopt.verification.kinds import known_kinds

WORLD, SMALLEST_WORLD = 64, 4
"""Rows of one world, and of one of an agent with very large inputs."""

MOST_ROWS, MOST_ELEMENTS = 1024, 1_000_000
"""What one population may hold."""

STEPS, STREAMS = 16, 4
"""Calls and rows of the episodes that are made of one."""


@dataclass(frozen=True)
class Population:
    """One kind of draws: its name, and its worlds, each of one array [rows, *shape] per input."""

    name: str
    worlds: tuple[tuple[Array, ...], ...]


def populations(
    signature: Signature,
    evidence: Evidence,
    *,
    states: Collection[str] = (),
    rows: int = MOST_ROWS,
    influence: Mapping[str, Array] | None = None,
    seed: int = 0,
) -> tuple[Population, ...]:
    """The kinds of draws that fit the evidence, of up to `rows` rows each.

    Inputs named in `states`, and whole numbers of which nothing is known, are drawn as they always are; for
    recorded observations the kinds are those for no evidence. `influence` is that of `free_kinds`.
    """
    known = evidence.kind in ("bounds", "statistics")
    kinds = known_kinds(evidence.moments) if known else free_kinds(influence)
    elements = max(1, sum(spec.elements for spec in signature.inputs))
    size = min(WORLD, max(SMALLEST_WORLD, MOST_ELEMENTS // elements))
    count = max(1, min(rows, MOST_ROWS, MOST_ELEMENTS // elements) // size)
    found = []
    for place, (name, make) in enumerate(kinds.items()):
        rng = np.random.default_rng([seed, 2, place])
        worlds = (
            tuple(
                _observations(spec, make, (world, size), rng)
                if spec.name not in states and _follows(spec, known=known)
                else draw(spec, size, rng)
                for spec in signature.inputs
            )
            for world in range(count)
        )
        found.append(Population(name, tuple(worlds)))
    return tuple(found)


def as_episodes(found: Sequence[Population], signature: Signature, contract: Contract) -> tuple[Episode, ...]:
    """Short episodes, one of each population: its first worlds side by side, each a stream of its own."""
    observed = {spec.name for spec in signature.observed(contract)}
    episodes = []
    for population in found:
        worlds = population.worlds[:STREAMS]
        steps = min(STEPS, min(len(world[0]) for world in worlds))
        arrays = (
            np.ascontiguousarray(np.stack([world[place][:steps] for world in worlds], axis=1))
            for place, spec in enumerate(signature.inputs)
            if spec.name in observed
        )
        episodes.append(Episode(f"{steps} steps of {population.name}", tuple(arrays)))
    return tuple(episodes)


def _follows(spec: TensorSpec, *, known: bool) -> bool:
    """Whether an input is drawn by kind: coins have none, and whole numbers only within bounds."""
    return spec.dtype != "bool" and (known or np.dtype(spec.dtype).kind == "f")


def _observations(spec: TensorSpec, make: Make, world: tuple[int, int], rng: np.random.Generator) -> Array:
    number, rows = world
    return fitted(spec, make(spec, number, rng.standard_normal((rows, *spec.shape)), rng))
