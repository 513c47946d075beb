"""On which observations a build of the native engine cannot act otherwise than its original does."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from grandopt.compiler.backends.native.backend import BuildStages, stages
from grandopt.compiler.backends.native.form import ArgReduce, Graph, Linear, Op, Reshape, Softmax, Value
from grandopt.compiler.bounds.enclosure import SLACK, Enclosure, exactly
from grandopt.compiler.bounds.propagate import Execution, propagate
from grandopt.compiler.program import Program
from grandopt.config.engines import NativeOptions
from grandopt.errors import UnsupportedError
from grandopt.signature import Array, Contract, Signature

STATES = 256
"""Observations that are looked at, at most, spread over those given."""
CLEAR = 2.0**-16
"""What scores must differ by where a softmax in float32 follows, so that it cannot make them equal."""

PATIENCE_S = 5.0
"""How long observations are looked at."""

Box = tuple[Array, Array]
"""The lowest and the highest value of each element of an input, [*shape]."""


@dataclass(frozen=True)
class Certificate:
    """What is proven.

    `certain` says of each of `states` observations whether it leads to the same action for certain; None
    without any, or where the action is no choice between scores. `action_error` is what the clipped action
    can be off by on any of them, `bound` what any score or action can be off by within the box; where one is
    missing, `reason` says why.
    """

    states: int
    certain: tuple[bool, ...] | None = None
    action_error: float | None = None
    bound: float | None = None
    reason: str | None = None

    @property
    def share(self) -> float | None:
        """The share of the states that are certified."""
        return None if self.certified is None or not self.states else self.certified / self.states

    @property
    def certified(self) -> int | None:
        """How many of them do."""
        return None if self.certain is None else sum(self.certain)


def certify(
    program: Program,
    options: NativeOptions,
    observations: Sequence[Array],
    box: Sequence[Box] | None,
    calibration: Sequence[Array] | None = None,
    *,
    states: int = STATES,
    seconds: float = PATIENCE_S,
    clock: Callable[[], float] = time.monotonic,
) -> Certificate:
    """What is certain of a program's native build with these options, on `observations`, [n, *shape] per
    input, and within `box`, one per input.

    `calibration` is what the build was given. After `seconds` no further observation is looked at. Compared
    are executions in float32, in whatever order sums are taken: that of the original and that of the build,
    at every feature level.
    """
    made, end = stages(program, options, calibration), clock() + seconds
    contract = program.contract
    try:
        judge = _Judge(made, program.signature, contract)
    except UnsupportedError as error:
        return Certificate(0, reason=f"no bound: {error}")
    same, errors, refusals = list[bool](), list[float](), list[str]()
    for index in _spread(len(observations[0]) if observations else 0, states):
        if same and clock() > end:
            break
        try:
            pair = judge.bounds(
                [
                    exactly(array[index].reshape(value.shape))
                    for array, value in zip(observations, made.simplified.inputs, strict=True)
                ]
            )
        except UnsupportedError as error:  # an operator, or a function that has no slope at this observation
            refusals.append(str(error))
            same.append(False)
            errors.append(np.inf)
            continue
        same.append(judge.same(*pair))
        errors.append(judge.action_error(*pair))
    if refusals and len(refusals) == len(same):
        return Certificate(0, reason=f"no bound: {refusals[0]}")
    bound, reason = _over_box(judge, made.simplified, box)
    if contract.action == "continuous":
        worst = float(np.max(errors, initial=0.0)) if errors else np.inf
        return Certificate(len(same), None, worst if np.isfinite(worst) else None, bound, reason)
    return Certificate(len(same), tuple(same) if same else None, None, bound, reason)


def _spread(count: int, most: int) -> list[int]:
    """So many of `count` positions, evenly spread, in an order in which the first ones are spread, too."""
    positions = np.linspace(0, count - 1, min(most, count), dtype=np.int64)
    return [int(index) for index in np.random.default_rng(0).permutation(positions)]


def _over_box(judge: _Judge, graph: Graph, box: Sequence[Box] | None) -> tuple[float | None, str | None]:
    if box is None:
        return None, "no bound over a box: the inputs have no finite one"
    inputs = []
    for (low, high), value in zip(box, graph.inputs, strict=True):
        low, high = (np.asarray(side, np.float64).reshape(value.shape) for side in (low, high))
        middle = low + (high - low) / 2
        inputs.append(exactly(middle, np.maximum(high - middle, middle - low) * (1 + SLACK)))
    try:
        originals, builds = judge.bounds(inputs)
    except UnsupportedError as error:
        return None, f"no bound over the box: {error}"
    # NaN is the largest here, where Python's own `max` would pass it over.
    off = [(a.error + b.error).max() for a, b in zip(originals, builds, strict=True)]
    worst = float(np.max(off))
    return (worst, None) if np.isfinite(worst) else (None, "no bound over the box: it is not finite")


class _Judge:
    """Bounds the original and the build, and compares their actions."""

    def __init__(self, made: BuildStages, signature: Signature, contract: Contract) -> None:
        self._made, self._contract = made, contract
        specs = signature.outputs
        acting = [index for index, spec in enumerate(specs) if spec.role != "value"]
        wide = [index for index, spec in enumerate(specs) if spec.shape and spec.shape[-1] > 1]
        self._acting = acting or (wide if contract.action == "none" else []) or [0]
        products = frozenset[Op](op for op in made.executed.ops if isinstance(op, Linear))
        halved = products - made.exact if made.precision == "bfloat16" else frozenset[Op]()
        self._execution = Execution(made.executed, halved, rounds_inputs=True)
        self._originals = _scores(made.translated)
        self._builds = _scores(made.simplified)
        for (one, _), (other, _) in zip(self._originals, self._builds, strict=True):
            if one.elements != other.elements:
                raise UnsupportedError("the scores are not at the same place in the original and the build")

    def bounds(self, inputs: Sequence[Enclosure]) -> tuple[list[Enclosure], list[Enclosure]]:
        """The scores of every output, of the original and of the build; raises UnsupportedError where there
        is no bound."""
        of, built = self._made.translated, self._made.simplified
        original = propagate(of, Execution(of), inputs, [value for value, _ in self._originals])
        build = propagate(built, self._execution, inputs, [value for value, _ in self._builds])
        return original, build

    def same(self, originals: Sequence[Enclosure], builds: Sequence[Enclosure]) -> bool:
        """Whether both lead to the same action for certain."""
        return all(
            self._same(originals[index], builds[index], CLEAR if self._builds[index][1] else 0.0)
            for index in self._acting
        )

    def _same(self, original: Enclosure, build: Enclosure, clear: float) -> bool:
        if self._contract.action == "binary":
            (low, high), (lower, higher) = original.range(), build.range()
            return bool((((low > 0) & (lower > 0)) | ((high <= 0) & (higher <= 0))).all())
        width = original.middle.shape[-1]
        edges = [0, *np.cumsum(self._contract.groups or (width,))]
        if edges[-1] != width:
            return False
        return all(_decided(original, build, slice(first, last), clear) for first, last in pairwise(edges))

    def action_error(self, originals: Sequence[Enclosure], builds: Sequence[Enclosure]) -> float:
        """What the clipped actions can differ by, at most."""
        original, build = originals[self._acting[0]], builds[self._acting[0]]
        (low, high), (lower, higher) = original.range(), build.range()
        floor = _sides(self._contract.low, -np.inf, low.shape)
        ceiling = _sides(self._contract.high, np.inf, low.shape)
        low, high, lower, higher = (np.clip(side, floor, ceiling) for side in (low, high, lower, higher))
        return float(np.maximum(higher - low, high - lower).max())


def _decided(original: Enclosure, build: Enclosure, group: slice, clear: float) -> bool:
    """Whether the largest score of a group is the original's, for certain, in both and on all rows."""
    rows = original.middle[..., group].reshape(-1, original.middle[..., group].shape[-1])
    highest = rows.argmax(axis=-1)
    return all(_leads(part, group, highest, clear) for part in (original, build))


def _leads(scores: Enclosure, group: slice, highest: Array, clear: float) -> bool:
    width = scores.middle[..., group].shape[-1]
    if width < 2:
        return True

    def split(array: Array, lead: int = 0) -> tuple[Array, Array]:
        rows = array[..., group].reshape(*array.shape[:lead], -1, width)
        index = highest.reshape(*(1,) * lead, -1, 1)
        return np.take_along_axis(rows, np.broadcast_to(index, (*rows.shape[:-1], 1)), -1), rows

    first, rest = split(scores.middle + scores.centre)
    gap = first - rest
    leading, others = split(scores.spread + scores.rest + SLACK * scores.size)
    symbols, all_symbols = split(scores.symbols, 1)
    unsure = (leading + others + np.abs(symbols - all_symbols).sum(axis=0)) * (1 + SLACK)
    clearly = gap - unsure > clear
    np.put_along_axis(clearly, highest[:, np.newaxis], True, -1)
    return bool(clearly.all())


def _scores(graph: Graph) -> list[tuple[Value, bool]]:
    """What every output is chosen by: the scores before an arg max or a softmax, and whether there is a
    softmax."""
    producers = graph.producers()
    found = []
    for output in graph.outputs:
        value, soft = output, False
        while isinstance(op := producers.get(value), (ArgReduce, Softmax, Reshape)):
            if isinstance(op, ArgReduce) and not op.largest:
                raise UnsupportedError("arg min of the scores")
            if isinstance(op, Reshape) and op.inputs[0].shape[-1] != value.shape[-1]:
                break
            soft, value = soft or isinstance(op, Softmax), op.inputs[0]
        found.append((value, soft))
    return found


def _sides(given: tuple[float, ...] | None, default: float, shape: tuple[int, ...]) -> Array:
    if given is None:
        return np.full(shape, default)
    return (
        np.broadcast_to(np.asarray(given, np.float64), shape) if len(given) == 1 else np.reshape(given, shape)
    )
