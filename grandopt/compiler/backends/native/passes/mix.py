"""Which products have weights of which precision, where int8 for all of them is too far off.

How much each layer matters is measured on observations, one layer at a time; how much time it takes is
estimated from its bytes and its multiply-adds. Errors of layers are taken to be independent, so that their
squares add up. They are spent where they buy most time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grandopt.compiler.backends.native.form import Convolve, Graph, Linear, Op, Recurrent, Value
from grandopt.compiler.backends.native.levels import StoredWeights
from grandopt.compiler.backends.native.passes.mix_judge import Meanings, MixJudge, MixLimits
from grandopt.compiler.backends.native.passes.quantize import admits
from grandopt.compiler.backends.native.render.weights import pairs_pay
from grandopt.compiler.backends.native.work import multiply_adds
from grandopt.errors import UnsupportedError
from grandopt.signature import Array

MACS_PER_NS: dict[StoredWeights, float] = {"float32": 60.0, "bfloat16": 120.0, "int8": 240.0}
BYTES: dict[StoredWeights, int] = {"float32": 4, "bfloat16": 2, "int8": 1}
BYTES_PER_NS, CODES_PER_NS = 120.0, 10.0
"""What one core does, roughly: of multiply-adds, of bytes of weights that are read, and of inputs that become
codes. As on Zen 4; what matters are the ratios, which are much the same elsewhere."""

WORTHWHILE = 1.1
"""How many times as fast the products must be as those of the best build of one precision, estimated."""
STINGIER, TRIES = 0.7, 6
"""What is spent of the budget shrinks by so much while the layers together are further off than it."""


@dataclass(frozen=True)
class Offer:
    """A layer at a precision: the estimated ns of its product, and the share of the limits that it uses."""

    ns: float
    error: float


def mixed(
    graph: Graph,
    exact: frozenset[Op],
    meanings: Meanings,
    samples: Sequence[Array],
    limits: MixLimits,
    *,
    scaled: bool,
) -> dict[Value, StoredWeights]:
    """The precision of the weights of each product and recurrence, by its first output; those of `exact`
    stay in float32. On the `samples` the share of the limits is kept, see `MixJudge`.

    Raises UnsupportedError where nothing is gained.
    """
    layers = [op for op in graph.ops if op not in exact and len(_precisions(op)) > 1]
    if not layers:
        raise UnsupportedError(f"{graph.name}: no product is large enough for weights of fewer bits")
    judge = MixJudge(graph, meanings, samples, limits, layers=len(layers), scaled=scaled)
    offers = {
        op: {
            precision: Offer(_ns(op, precision), judge.usage({op: precision}))
            for precision in _precisions(op)
        }
        for op in layers
    }
    budget = limits.share
    for _ in range(TRIES):
        found = spent(offers, budget)
        if judge.usage(found) <= limits.share:
            break
        budget *= STINGIER
    else:
        raise UnsupportedError(f"{graph.name}: its layers of fewer bits together are always too far off")
    products = [op for op in graph.ops if op not in exact and _has_weights(op)]
    admitted = judge.usage(dict.fromkeys(products, "bfloat16")) <= limits.share
    _check_worthwhile(graph.name, offers, found, halved=admitted)
    return {op.outputs[0]: precision for op, precision in found.items()}


def spent(offers: Mapping[Op, Mapping[StoredWeights, Offer]], budget: float) -> dict[Op, StoredWeights]:
    """The precision of each layer for which the squares of their errors add up to that of the budget at most:
    one step after the other is taken that saves most time for what it adds."""
    found: dict[Op, StoredWeights] = dict.fromkeys(offers, "float32")
    left = budget**2
    while True:
        steps = []
        for op, now in found.items():
            for precision, offer in offers[op].items():
                saved = offers[op][now].ns - offer.ns
                more = offer.error**2 - offers[op][now].error ** 2
                if saved > 0 and more <= left:
                    steps.append((saved / max(more, 1e-30), op, precision, more))
        if not steps:
            return found
        _, op, precision, more = max(steps, key=lambda step: step[0])
        found[op] = precision
        left -= more


def _check_worthwhile(
    name: str,
    offers: Mapping[Op, Mapping[StoredWeights, Offer]],
    found: Mapping[Op, StoredWeights],
    *,
    halved: bool,
) -> None:
    """Raise UnsupportedError where the best build of one precision, bfloat16 where that is within the limits,
    takes hardly longer."""
    plain: dict[Op, StoredWeights] = {
        op: "bfloat16" if halved and "bfloat16" in offer else "float32" for op, offer in offers.items()
    }
    before, after = (sum(offers[op][choice[op]].ns for op in offers) for choice in (plain, found))
    if before < WORTHWHILE * after:
        counts = list(found.values()).count
        raise UnsupportedError(
            f"{name}: int8 weights for {counts('int8')} and bfloat16 ones for {counts('bfloat16')} of its "
            f"{len(found)} large products are as many as stay within the limits, and would save "
            f"{max(0.0, 1 - after / before):.0%} of their time, too little to be worth a build"
        )


def layers_of(graph: Graph, mixture: Mapping[Value, StoredWeights]) -> dict[StoredWeights, list[str]]:
    """The layers of each precision, named after the modules that their weights are of; those whose weights
    are too few for a choice are left out."""
    found: dict[StoredWeights, list[str]] = {"int8": [], "bfloat16": [], "float32": []}
    for op in graph.ops:
        precision = mixture.get(op.outputs[0])
        if precision is not None and isinstance(op, (Linear, Convolve, Recurrent)):
            name, size = op.weight.name.split(" ")[0], "×".join(map(str, op.weight.shape))
            found[precision].append(f"{name} {size}")
    return found


def _precisions(op: Op) -> tuple[StoredWeights, ...]:
    """What the weights of an op could be."""
    if not isinstance(op, (Linear, Convolve, Recurrent)) or not _has_weights(op):
        return ("float32",)
    weight = op.weight.constant
    halved: tuple[StoredWeights, ...] = ("bfloat16",) if pairs_pay(len(weight), weight[0].size) else ()
    codes: tuple[StoredWeights, ...] = ("int8",) if not isinstance(op, Convolve) and admits(weight) else ()
    return ("float32", *halved, *codes)


def _has_weights(op: Op) -> bool:
    """Whether an op has weights of which there are kernels for each precision."""
    return isinstance(op, (Linear, Convolve, Recurrent)) and not (isinstance(op, Convolve) and op.depthwise)


def _ns(op: Op, precision: StoredWeights) -> float:
    """The estimated time of a product or a recurrence, whose weights are read in every step."""
    assert isinstance(op, (Linear, Convolve, Recurrent))
    steps = op.gates.shape[0] if isinstance(op, Recurrent) else 1
    reading = steps * op.weight.elements * BYTES[precision] / BYTES_PER_NS
    inputs = steps * op.weight.shape[1] if isinstance(op, Recurrent) else op.inputs[0].elements
    coding = inputs / CODES_PER_NS if precision == "int8" else 0.0
    return max(reading, multiply_adds(op) / MACS_PER_NS[precision]) + coding
