"""Does an agent with state stay the same agent over many calls?

Both sides are stepped from the initial state, each with its own state fed back: the reference in float64, the
original, and later the candidate through the session that is deployed. The original's distance from the
reference is again the yardstick, and it is taken by stretches of steps, so that the error that a state may
have gathered late excuses none that it has early.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from grandopt.config.engine import Precision
from grandopt.config.schema import Limits
from grandopt.errors import VerificationError
from grandopt.reason import Reason
from grandopt.runtime.executors.base import Executor
from grandopt.signature import Array, Signature
from grandopt.verification.agreement import Agreement
from grandopt.verification.calls import CallError, Outputs
from grandopt.verification.compare import (
    decision_check,
    float32_agreement,
    float32_check,
    layout,
    reduced_agreement,
    reduced_check,
)
from grandopt.verification.episodes import Episode, walked
from grandopt.verification.inputs import Case
from grandopt.verification.known import CaseGroup, Known, Reference, known
from grandopt.verification.oracle import Oracle
from grandopt.verification.result import OutputCheck
from grandopt.verification.tolerance import (
    largest_own_error,
    own_margin,
    own_spreads,
    rounded,
    wider,
)

STRETCHES = (16, 64, 256)
"""The steps at which a stretch ends that is judged by itself."""

FEWEST_STEPS = 16
"""An original that keeps to its float64 form for fewer steps shows nothing about an episode."""


@dataclass(frozen=True)
class Drift:
    """What stepping a candidate found; `reason` names what cannot be compared at all."""

    reason: Reason | None = None
    checks: tuple[OutputCheck, ...] = ()
    agreements: tuple[Agreement, ...] = ()


def with_episodes(
    oracle: Oracle,
    reference: Reference,
    original: Executor,
    episodes: Sequence[Episode],
    seed: int = 0,
    *,
    apart: bool = False,
) -> Oracle:
    """The oracle with every step of the episodes known; unchanged where there are none.

    An episode ends for all where the original, whose state amplifies rounding, is further than 1 % of an
    output's scale from the reference; `skipped` then says so. With `apart`, each episode is judged by itself,
    and one that cannot be compared is left out; else the stretches of all are judged together. Then
    VerificationError is raised when an episode ends within the first 16 steps, or the original cannot be
    stepped.
    """
    if not episodes:
        return oracle
    most = largest_own_error(reference.resolution)
    kept: list[Episode] = []
    steps: list[Known] = []
    places: list[int] = []
    notes: list[str] = []
    for episode in episodes:
        try:
            found = _steps(oracle, reference, original, episode)
        except VerificationError as error:
            if not apart:
                raise
            notes.append(f"{episode.name}: left out: {error}")
            continue
        end = _horizon(oracle, found, most)
        if end < min(FEWEST_STEPS, episode.steps) and apart:
            notes.append(f"{episode.name}: left out: the original leaves its own float64 form at once")
            continue
        if end < min(FEWEST_STEPS, episode.steps):
            raise VerificationError(
                f"{episode.name}: after {end} step(s) the original is further than {most:.0%} "
                f"from its own float64 form: its state amplifies rounding or grows without bound, so that "
                f"nothing can be shown to be the same agent; check `initial` and the state's order"
            )
        if end < len(found):
            notes.append(f"{episode.name}: compared up to step {end}, where the original itself drifts off")
        kept.append(episode.until(end))
        steps += found[:end]
        places += range(end)
    if not kept:
        return replace(oracle, skipped=(*oracle.skipped, *notes))
    groups = _episodes_apart(kept) if apart else _stretches(places)
    spreads = own_spreads(groups, steps, oracle.floats, [item.expected for item in steps])
    if reference.precision != "float64":
        moved = _rounded(original, kept, seed, reference.resolution)
        for place, found_spread in own_spreads(groups, steps, oracle.floats, moved).items():
            spreads[place] = wider(spreads[place], found_spread)
    margin = max(oracle.margin_yardstick, own_margin(steps, oracle.decided))
    known_steps = replace(
        oracle,
        known=tuple(steps),
        groups=groups,
        spreads=spreads,
        probes=(),
        margin_yardstick=margin,
        undeclared=(),
    )
    return replace(oracle, episodes=tuple(kept), steps=known_steps, skipped=(*oracle.skipped, *notes))


def drift(candidate: Executor, oracle: Oracle, *, precision: Precision, limits: Limits) -> Drift:
    """Step a candidate through the oracle's episodes and compare every output of every step.

    The limits are those of `verify`: the float32 rule, or the profile's for each stretch of steps. Raises
    CallError when the candidate cannot be stepped.
    """
    steps = oracle.steps
    if steps is None:
        return Drift()
    results = [outputs for episode in oracle.episodes for outputs in walked(candidate, episode)]
    refusal = layout(steps, results, strict=precision == "float32")
    if refusal is not None:
        return Drift(refusal)
    agreements: list[Agreement] = []
    if precision == "float32":
        checks = [
            decision_check(steps, output, results)
            if output in steps.decided
            else float32_check(steps, output, results)
            for output in range(len(steps.specs))
        ]
        for group in steps.groups:
            agreements += float32_agreement(steps, results, checks, group)
    else:
        checks = [
            reduced_check(steps, output, results, limits, group)
            for output in steps.floats
            for group in steps.groups
        ]
        for group in steps.groups:
            agreements += reduced_agreement(steps, results, limits, group)
    return Drift(None, tuple(checks), tuple(agreements))


def _steps(oracle: Oracle, reference: Reference, original: Executor, episode: Episode) -> list[Known]:
    """Every step of an episode: the original's answers, and the reference's from its own state."""
    signature, contract = original.signature, oracle.contract
    session_inputs = [spec.name for spec in signature.observed(contract)]
    names = [spec.name for spec in oracle.specs]
    try:
        expected = walked(original, episode)
    except CallError as error:
        raise VerificationError(f"the original cannot be stepped: {error}") from error
    values = _initial(original, episode.streams)
    found = []
    for step, own in enumerate(expected):
        values |= dict(zip(session_inputs, episode.at(step), strict=True))
        inputs = tuple(values[spec.name] for spec in signature.inputs)
        case = Case(f"step {step + 1} of {episode.name}", inputs)
        item = known(reference, contract, case, own, oracle.decided, oracle.score_scale)
        found.append(item)
        for tensor in contract.state:
            state = item.truth[names.index(tensor.output)]
            narrow = _dtype(signature, tensor.input)
            values[tensor.input] = state if reference.precision == "float64" else state.astype(narrow)
    return found


def _initial(original: Executor, streams: int) -> dict[str, Array]:
    """The inputs that a session begins with: its state, and 0 where an episode's start is marked."""
    values = {spec.name: np.zeros((streams, *spec.shape), spec.dtype) for spec in original.signature.inputs}
    return values | original.session(streams).state


def _dtype(signature: Signature, name: str) -> str:
    return next(spec.dtype for spec in signature.inputs if spec.name == name)


def _horizon(oracle: Oracle, steps: Sequence[Known], most: float) -> int:
    """After how many steps the original is first further than `most` of an output's scale from the
    reference, or NaN or infinite."""
    scales = dict.fromkeys(oracle.floats, 0.0)
    for step, item in enumerate(steps):
        for output in oracle.floats:
            truth, own = item.truth[output], item.expected[output].astype(np.float64)
            with np.errstate(invalid="ignore"):
                scales[output] = max(scales[output], float(np.abs(truth).max()))
                off = float(np.abs(own - truth).max())
            if not off <= most * scales[output] < np.inf:
                return step
    return len(steps)


def _stretches(steps: Sequence[int]) -> tuple[CaseGroup, ...]:
    """The places of each stretch of steps; the first is what the later ones borrow from (`tolerance`)."""
    found = []
    for begin, end in itertools.pairwise((0, *STRETCHES)):
        members = tuple(place for place, step in enumerate(steps) if begin <= step < end)
        if members:
            found.append(CaseGroup("edge" if begin else "drawn", members))
    return tuple(found)


def _episodes_apart(episodes: Sequence[Episode]) -> tuple[CaseGroup, ...]:
    """The places of the steps of each episode."""
    ends = np.cumsum([episode.steps for episode in episodes]).tolist()
    return tuple(
        CaseGroup("population", tuple(range(end - episode.steps, end)), episode.name)
        for end, episode in zip(ends, episodes, strict=True)
    )


def _rounded(original: Executor, episodes: Sequence[Episode], seed: int, resolution: float) -> list[Outputs]:
    """The original through the same episodes with every observation rounded the other way."""
    rng = np.random.default_rng(seed)
    results = []
    for episode in episodes:
        moved = rounded(Case(episode.name, episode.observations), rng, resolution).inputs
        try:
            results += walked(original, Episode(episode.name, moved))
        except CallError as error:
            raise VerificationError(f"the original fails on rounded inputs: {error}") from error
    return results
