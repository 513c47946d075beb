"""The order in which candidates are built: when the time budget ends, the likely winners are there.

The ranks come from measurements of small agents on one x86-64 machine with AVX-512 and AMX. They decide what
is tried first, and nothing else. For large agents TorchScript leads because it is built in a second: some
candidate is then ready even where the budget is short.
"""

from __future__ import annotations

from collections.abc import Iterable

from grandopt.compiler.build import Candidate

LARGE_FLOP = 5_000_000
"""Above this many operations a call the arithmetic counts; below, what an engine spends around it."""

SMALL = ("native", "inductor", "onnxruntime", "torchscript", "openvino", "eager")
LARGE = ("native", "torchscript", "openvino", "onnxruntime", "eager", "inductor")
LATE = frozenset({"eager", "inductor"})
"""For large agents these wait for all others: one is never the fastest, the other takes half a minute to
build a network for which others are ready in five seconds."""
PRECISIONS = {
    False: ("float32", "bfloat16", "int8_dynamic", "int8_static"),
    True: ("bfloat16", "int8_dynamic", "float32", "int8_static"),
}


def likely_first(candidates: Iterable[Candidate], flop: int | None) -> list[Candidate]:
    """The candidates with the likely winners first; among equals the given order stays.

    `flop` counts the operations of one call, None where it is not known (then the agent is taken for large).
    Each engine's first variant comes before any engine's second.
    """
    large = flop is None or flop > LARGE_FLOP
    engines, precisions = (LARGE if large else SMALL), PRECISIONS[large]
    seen: dict[tuple[str, str], int] = {}
    ranked = []
    for candidate in candidates:
        kind = (candidate.engine, candidate.precision)
        variant = seen[kind] = seen.get(kind, -1) + 1
        lot = _lot(candidate.engine) if large else 0
        rank = (lot, variant, _place(precisions, candidate.precision), _place(engines, candidate.engine))
        ranked.append((rank, candidate))
    return [candidate for _, candidate in sorted(ranked, key=lambda pair: pair[0])]


def _lot(engine: str) -> int:
    if engine in LATE:
        return 2
    return 0 if engine == LARGE[0] else 1


def _place(order: tuple[str, ...], name: str) -> int:
    return order.index(name) if name in order else len(order)
