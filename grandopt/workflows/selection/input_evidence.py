"""What is known of an agent's inputs, and the oracle that asks what fits it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from grandopt.compiler import build
from grandopt.compiler.exercise import Exercised
from grandopt.compiler.program import Program
from grandopt.config.schema import Limits
from grandopt.runtime.executors.base import Executor
from grandopt.signature import Array
from grandopt.verification.agreement import UNKNOWN_INPUTS
from grandopt.verification.drift import with_episodes
from grandopt.verification.episodes import episodes
from grandopt.verification.evidence import Evidence, evidence_of
from grandopt.verification.exercise import Exercise
from grandopt.verification.influence import influence
from grandopt.verification.inputs import cases, drawn
from grandopt.verification.known import Reference
from grandopt.verification.oracle import Oracle
from grandopt.verification.populated import with_populations
from grandopt.verification.populations import (
    MOST_ROWS,
    Population,
    as_episodes,
    populations,
)
from grandopt.workflows.open_agents import OpenedAgent

CALIBRATION = 256
"""Draws that stand for recorded observations where the evidence is statistics or bounds."""

SHOWN = 16
"""Rows of each world on which the network is watched."""

ROWS = ((2_000_000, MOST_ROWS), (20_000_000, 256), (200_000_000, 128))
"""How many rows a population has, up to so many operations of one call; beyond, 64."""


def known_of_inputs(opened: OpenedAgent) -> Evidence:
    """The evidence about the inputs of an agent."""
    recorded = None if opened.samples is None else len(opened.samples[0])
    observed = opened.checkpoint.observed.inputs
    return evidence_of(observed, recorded=recorded, moments=opened.checkpoint.moments)


def limits_of(limits: Limits, evidence: Evidence) -> Limits:
    """The limits of reduced precision on inputs of which so much is known."""
    agreement = limits.agreement if evidence.there else max(limits.agreement, UNKNOWN_INPUTS)
    return limits.model_copy(update={"agreement": agreement})


def calibration(
    evidence: Evidence, program: Program, samples: Sequence[Array] | None, seed: int
) -> tuple[Array, ...] | None:
    """What builds are calibrated on, one array [n, *shape] per input: the recorded observations, else draws
    that fit the evidence; None where nothing is known."""
    if samples is not None:
        return tuple(samples)
    if not evidence.there:
        return None
    return drawn(program.signature, CALIBRATION, np.random.default_rng([seed, 4]), evidence.moments)


def oracle_of(
    evidence: Evidence,
    program: Program,
    reference: Reference,
    original: Executor,
    samples: Sequence[Array] | None,
    seed: int,
    *,
    observed: Sequence[Array] | None,
    declared: bool,
    reduced: bool = True,
) -> Oracle:
    """The oracle of an agent: its cases, its episodes, and the populations that reduced precision must hold.

    `samples` are recorded observations with the state at each, `observed` the same without; `declared` says
    whether somebody said what the outputs are. Where recorded observations leave the outputs constant, the
    populations are those of no evidence. Where no candidate is of `reduced` precision, nothing is asked on
    its account. Raises VerificationError as `Oracle.prepare` does.
    """
    signature, contract = program.signature, program.contract
    oracle = Oracle.prepare(
        reference,
        original,
        cases(signature, samples=samples, moments=evidence.moments, seed=seed),
        contract,
        seed,
        evidence=evidence,
        declared=declared,
    )
    steps = episodes(signature, contract, samples=observed, moments=evidence.moments, seed=seed)
    oracle = with_episodes(oracle, reference, original, steps, seed)
    if not reduced:
        return oracle
    network = Exercised(program)
    network.show(item.case.inputs for item in oracle.known if item.case.kind == "drawn")
    exercise = _exercise(network, evidence)
    if evidence.kind != "recorded" or exercise.low:
        kinds = _populations(evidence, program, reference, seed)
        oracle = with_populations(oracle, reference, original, kinds)
        if contract.state and oracle.wide is not None:
            stepped = as_episodes(kinds, signature, contract)
            wide = with_episodes(oracle.wide, reference, original, stepped, seed, apart=True)
            oracle = replace(oracle, wide=wide)
    if oracle.wide is not None:
        network.show(_shown(oracle.wide))
        exercise = _exercise(network, evidence, exercise)
    return replace(oracle, exercise=exercise)


def _shown(wide: Oracle) -> Iterator[tuple[Array, ...]]:
    """Some rows of every world, population by population."""
    for group in wide.groups:
        worlds = [wide.known[place].case.inputs for place in group.members]
        yield tuple(
            np.concatenate([array[:SHOWN] for array in arrays]) for arrays in zip(*worlds, strict=True)
        )


def _exercise(network: Exercised, evidence: Evidence, ordinary: Exercise | None = None) -> Exercise:
    (units, changed), (outputs, moved) = network.units, network.outputs
    return Exercise(
        units,
        changed,
        outputs,
        moved,
        ordinary_units=changed if ordinary is None else ordinary.units_changed,
        ordinary_outputs=moved if ordinary is None else ordinary.outputs_changed,
        recorded=evidence.kind == "recorded",
    )


def _populations(
    evidence: Evidence, program: Program, reference: Reference, seed: int
) -> tuple[Population, ...]:
    signature, contract = program.signature, program.contract
    observed = {spec.name for spec in signature.observed(contract)}
    states = [spec.name for spec in signature.inputs if spec.name not in observed]
    known = evidence.kind in ("statistics", "bounds")
    operations = build.flop(program) or 0
    rows = next((rows for limit, rows in ROWS if operations <= limit), 64)
    return populations(
        signature,
        evidence,
        states=states,
        rows=rows,
        influence=None if known else influence(signature, reference, states, seed),
        seed=seed,
    )
