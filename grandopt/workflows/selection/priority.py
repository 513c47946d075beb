"""The order in which candidates are built: what is gained for each second of building decides.

What is expected of a build is what its engine's class says (its prior), and more and more what this machine
has seen. That decides what is tried first, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from grandopt.compiler.build import Candidate
from grandopt.config.engine import Precision
from grandopt.workflows.building.request import Expected
from grandopt.workflows.memo.build_history import BuildKind, Seen, size_class

PRIOR_BUILDS = 4.0
"""How many builds the prior counts for, beside those that were seen."""

PRECISIONS: dict[bool, dict[Precision, float]] = {
    False: {"float32": 1.0, "bfloat16": 0.7, "int8_dynamic": 0.6, "int8_static": 0.3, "mixed": 0.6},
    True: {"bfloat16": 1.0, "int8_dynamic": 0.9, "float32": 0.6, "int8_static": 0.5, "mixed": 0.8},
}
"""By how much the prior's chance shrinks at a precision, for small agents and (True) for large ones."""

LATER_VARIANT = 0.5
"""By how much the chance of each further variant of an engine and precision shrinks: it resembles those
before it."""


@dataclass(frozen=True)
class Outlook:
    """What is expected of building a candidate: the chance that it is the fastest, and how long it takes.

    It `leads` as the first at its precision of an engine that is always built.
    """

    candidate: Candidate
    chance: float
    expected: Expected
    leads: bool

    @property
    def gain_per_s(self) -> float:
        """What a second of building it is worth."""
        return self.chance / self.expected.seconds


def kind_of(candidate: Candidate, flop: int | None) -> BuildKind:
    """What a candidate of an agent with so many operations a call is expected to go like."""
    return BuildKind(candidate.engine, candidate.precision, size_class(flop))


def in_order(
    candidates: Iterable[Candidate], flop: int | None, seen: Callable[[BuildKind], Seen] = lambda kind: Seen()
) -> list[Outlook]:
    """The candidates in the order in which they are to be built; among equals the given order stays.

    Engines that are always built come first, with one candidate at each precision. Then what is slow to
    build, for one process while the others do the rest (see `Turns`); then all else. Within each of the
    three, what gains most for a second of building comes first. `flop` counts the operations of one call,
    None where it is not known (then the agent is taken for large).
    """
    variants: dict[BuildKind, int] = {}
    ranked: list[tuple[tuple[int, float], Outlook]] = []
    for candidate in candidates:
        kind = kind_of(candidate, flop)
        variant = variants[kind] = variants.get(kind, -1) + 1
        found = _outlook(candidate, kind, seen(kind), variant)
        lot = 0 if found.leads else 1 if found.expected.slow else 2
        ranked.append(((lot, -found.gain_per_s), found))
    return [found for _, found in sorted(ranked, key=lambda pair: pair[0])]


def _outlook(candidate: Candidate, kind: BuildKind, seen: Seen, variant: int) -> Outlook:
    large = kind.size != "small"
    prior = candidate.options.prior
    chance = prior.chance[large] * PRECISIONS[large][candidate.precision]
    builds = PRIOR_BUILDS + seen.builds
    return Outlook(
        candidate,
        (PRIOR_BUILDS * chance + seen.won) / builds * LATER_VARIANT**variant,
        Expected((PRIOR_BUILDS * prior.seconds[large] + seen.seconds) / builds, seen.builds > 0),
        prior.always and variant == 0,
    )
