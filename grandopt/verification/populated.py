"""Does a candidate of reduced precision stay the same agent on every kind of input that it may see?

Pooled over everything, a build that is wrong on one kind would hide behind those on which it is right. Each
population is therefore judged by itself; and where nothing is known of the inputs, so that the worlds of one
population have nothing in common either, the error of each world.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from grandopt.config.engine import Precision
from grandopt.config.schema import Limits
from grandopt.runtime.executors.base import Executor
from grandopt.signature import Array, TensorSpec
from grandopt.verification.agreement import (
    UNDECLARED,
    UNKNOWN_INPUTS,
    Agreement,
    of_actions,
    of_decisions,
    of_highest,
    of_scores,
)
from grandopt.verification.calls import CallError, Outputs, call, unlike
from grandopt.verification.compare import layout, reduced_check
from grandopt.verification.drift import Drift, drift
from grandopt.verification.inputs import Case
from grandopt.verification.known import CaseGroup, Known, Reference, known
from grandopt.verification.oracle import Oracle
from grandopt.verification.populations import Population
from grandopt.verification.result import OutputCheck
from grandopt.verification.tolerance import LARGEST_OWN_ERROR, own_spreads, spread

FEWEST_ROWS = 2
"""A world of which fewer rows are left shows nothing."""

SMALL = 0.25
"""Outputs below this part of their usual size count as so large."""


def with_populations(
    oracle: Oracle, reference: Reference, original: Executor, populations: Sequence[Population]
) -> Oracle:
    """The oracle with every world of the populations known.

    Rows on which the original fails, is not finite, or is further than 1 % from its own reference are left
    out: nothing can be compared with it there; `skipped` names populations of which nothing is left.
    """
    worlds: list[Known] = []
    groups: list[CaseGroup] = []
    notes: list[str] = []
    for population in populations:
        found = _usable(oracle, reference, original, population)
        if found:
            members = tuple(range(len(worlds), len(worlds) + len(found)))
            groups.append(CaseGroup("population", members, population.name))
            worlds += found
        else:
            notes.append(f"draws {population.name!r} left out: the original computes nothing usable there")
    if not groups:
        return replace(oracle, skipped=(*oracle.skipped, *notes))
    spreads = own_spreads(groups, worlds, oracle.floats, [item.expected for item in worlds])
    wide = replace(
        oracle,
        known=tuple(worlds),
        groups=tuple(groups),
        spreads=spreads,
        probes=(),
        wide=None,
        episodes=(),
        steps=None,
    )
    return replace(oracle, wide=wide, skipped=(*oracle.skipped, *notes))


def populated(candidate: Executor, oracle: Oracle, *, precision: Precision, limits: Limits) -> Drift:
    """Ask a candidate of reduced precision about every world, and hold it to the limits in the worst.

    One with state is stepped through episodes of them, too. Raises CallError when it cannot be called.
    """
    wide = oracle.wide
    if wide is None:
        return Drift()
    results = []
    for item in wide.known:
        result = call(candidate, item.case)
        difference = unlike(result, item.expected)
        if difference is not None:
            raise CallError(f"{item.case.name}: {difference}")
        results.append(tuple(array.copy() for array in result))
    refusal = layout(wide, results, strict=False)
    if refusal is not None:
        return Drift(refusal)
    checks = [_worst(oracle, wide, output, results, limits) for output in wide.floats]
    agreements = [item for group in wide.groups for item in _agreements(wide, group, results, limits)]
    stepped = drift(candidate, wide, precision=precision, limits=limits)
    return Drift(stepped.reason, (*checks, *stepped.checks), (*agreements, *stepped.agreements))


def _usable(oracle: Oracle, reference: Reference, original: Executor, population: Population) -> list[Known]:
    """What is known of the worlds of a population, without the rows that nothing can be compared with."""
    joined = tuple(np.concatenate(arrays) for arrays in zip(*population.worlds, strict=True))
    case = Case(population.name, joined, "population")
    try:
        own = call(original, case)
    except CallError:
        return []
    item = known(reference, oracle.contract, case, own, oracle.decided, oracle.score_scale)
    keep = _comparable(item, oracle.floats)
    sizes = [len(world[0]) for world in population.worlds]
    found = []
    for number, end in enumerate(np.cumsum(sizes)):
        rows = np.flatnonzero(keep[end - sizes[number] : end]) + end - sizes[number]
        if len(rows) >= FEWEST_ROWS:
            found.append(_part(item, rows, f"{population.name} ({number + 1})"))
    return found


def _comparable(item: Known, floats: Sequence[int]) -> Array:
    """The rows [B] on which the original is finite and close to its reference."""
    keep = np.ones(item.case.batch, dtype=bool)
    for output in floats:
        truth, given = (
            array[output].astype(np.float64).reshape(item.case.batch, -1)
            for array in (item.truth, item.expected)
        )
        with np.errstate(invalid="ignore", over="ignore"):
            off, scale = np.abs(given - truth).max(axis=1), np.abs(truth).max(axis=1)
            keep &= np.isfinite(off) & np.isfinite(scale) & (off <= LARGEST_OWN_ERROR * scale)
    return keep


def _part(item: Known, rows: Array, name: str) -> Known:
    return Known(
        replace(item.case, name=name, inputs=_rows(item.case.inputs, rows)),
        _rows(item.expected, rows),
        _rows(item.truth, rows),
        item.margins[rows],
        item.dirty[rows],
    )


def _rows(arrays: Sequence[Array], rows: Array) -> tuple[Array, ...]:
    return tuple(np.ascontiguousarray(array[rows]) for array in arrays)


def _worst(
    oracle: Oracle, wide: Oracle, output: int, results: Sequence[Outputs], limits: Limits
) -> OutputCheck:
    """Relative L2 error of the population, or without evidence of the world, in which it is largest."""
    if wide.evidence.there:
        checks = [reduced_check(wide, output, results, limits, group) for group in wide.groups]
        return max(checks, key=lambda check: check.error)
    ordinary = oracle.groups[0].gather([item.truth for item in oracle.known], output)
    least = SMALL * float(np.sqrt(np.mean(np.square(ordinary)))) if np.isfinite(ordinary).all() else 0.0
    pairs = list(zip(wide.known, results, strict=True))
    item, result = max(pairs, key=lambda pair: _off(pair[1], pair[0], output, least))
    error, own = (_off(given, item, output, least) for given in (result, item.expected))
    return OutputCheck(wide.specs[output].name, "relative_l2", error, limits.relative_l2, own, item.case.name)


def _off(given: Outputs, item: Known, output: int, least: float) -> float:
    """The relative L2 error of one world; its outputs count as at least `least` in size, as where they
    happen to cancel out the error stays that of what was added up."""
    found = spread(given[output], item.truth[output])
    size = max(found.reference_squares, item.truth[output].size * least**2)
    return float(np.sqrt(found.squares / size)) if found.squares else 0.0


def _agreements(
    wide: Oracle, group: CaseGroup, results: Sequence[Outputs], limits: Limits
) -> list[Agreement]:
    """How often the action is the same in one population, output by output."""
    items = [wide.known[place] for place in group.members]
    given = [results[place] for place in group.members]
    strict = None if wide.evidence.there else UNKNOWN_INPUTS
    found = []
    for output, spec in enumerate(wide.specs):
        values, truth = (
            group.gather(results, output),
            group.gather([item.truth for item in wide.known], output),
        )
        if output in wide.decided:
            error = limits.relative_l2 if strict is None else 0.0
            found.append(replace(of_decisions(spec, output, items, given, error), required=strict))
        elif output in wide.undeclared or (spec.role == "scores" and strict is not None):
            found.append(of_highest(spec, values, truth, strict or UNDECLARED))
        elif spec.role == "scores":
            found.append(_clear_scores(spec, output, items, given))
        elif spec.role == "action":
            found.append(of_actions(spec, wide.contract, values, truth, limits.relative_l2))
    return [replace(item, among=group.name) for item in found]


def _clear_scores(
    spec: TensorSpec, output: int, items: Sequence[Known], results: Sequence[Outputs]
) -> Agreement:
    """Arg max where the margin is beyond the error, which is that of the row's own world."""
    samples = same = asked = 0
    for item, result in zip(items, results, strict=True):
        error = spread(result[output], item.truth[output]).error
        found = of_scores(spec, result[output], item.truth[output], error)
        samples, same, asked = samples + found.samples, same + found.same, asked + found.asked
    return Agreement(spec.name, samples, same, asked)
