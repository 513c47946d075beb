"""Does a captured form compute what the original computes?

This is the check of a capture, not the verification of a candidate: both sides run the same operators, so
that any difference beyond rounding means that something of the example was built into the graph.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from grandopt.compiler.capture.inputs import Probe
from grandopt.compiler.program import FORWARD_ERRORS, evaluate
from grandopt.errors import first_line

TOLERANCE = 1e-4
"""Largest difference that counts as rounding, relative to the output's largest value on the same inputs."""


def disagreement(original: torch.nn.Module, captured: torch.nn.Module, probes: Iterable[Probe]) -> str | None:
    """The first probe on which `captured` does not compute what `original` does, in words; None if it agrees.

    A probe that the original itself cannot take is left out.
    """
    for probe in probes:
        try:
            expected = evaluate(original, probe.inputs)
        except FORWARD_ERRORS:
            continue
        try:
            got = evaluate(captured, probe.inputs)
        except FORWARD_ERRORS as error:
            return f"fails on {probe.label}, which the original takes: {first_line(error)}"
        found = difference(expected, got)
        if found is None:
            continue
        if difference(expected, evaluate(original, probe.inputs)) is not None:
            return (
                f"cannot be checked: the original itself gives other outputs on {probe.label} the second time"
            )
        return f"gives other outputs than the original on {probe.label}: {found}"
    return None


def difference(expected: tuple[torch.Tensor, ...], got: tuple[torch.Tensor, ...]) -> str | None:
    """How two sets of outputs differ beyond rounding, in words; None if they do not."""
    if len(expected) != len(got):
        return f"{len(got)} outputs instead of {len(expected)}"
    for want, have in zip(expected, got, strict=True):
        if want.shape != have.shape or want.dtype != have.dtype:
            return f"{_dtype(have)} {list(have.shape)} instead of {_dtype(want)} {list(want.shape)}"
        wide, other = want.double(), have.double()
        finite = wide[wide.isfinite()]
        scale = float(finite.abs().max()) if finite.numel() and want.dtype.is_floating_point else 0.0
        if not torch.allclose(other, wide, rtol=0.0, atol=TOLERANCE * scale, equal_nan=True):
            return f"max difference {_largest(other - wide)}"
    return None


def _largest(difference: torch.Tensor) -> str:
    finite = difference[difference.isfinite()]
    return f"{float(finite.abs().max()):.3g}" if finite.numel() == difference.numel() else "not finite"


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
