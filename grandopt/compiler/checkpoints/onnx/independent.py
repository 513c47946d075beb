"""The network held against an interpreter that is not ours: `onnx.reference`, where it is installed."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from grandopt.compiler.checkpoints.onnx.network import OnnxNetwork
from grandopt.compiler.checkpoints.onnx.plan import Plan
from grandopt.compiler.checkpoints.vetting.first_call import first_call
from grandopt.compiler.checkpoints.vetting.foreign import foreign_code
from grandopt.errors import CheckpointError

TOLERANCE = 1e-4
"""Largest difference in float32, relative to the output's largest number: rounding in another order."""


def checked(
    path: Path, plan: Plan, network: OnnxNetwork, values: Sequence[torch.Tensor], outputs: Sequence[str]
) -> str:
    """What became of the comparison, in words; raises CheckpointError where the answers differ."""
    if importlib.util.find_spec("onnx") is None:
        return "nothing: the package onnx is not installed"
    try:
        wanted = first_call(lambda: _reference(path, plan, values, outputs), path, trust=False)
    except CheckpointError as error:
        return f"nothing: {str(error).removeprefix(f'{path}: ')}"
    with torch.no_grad():
        got = network(*values)
    for name, have, want in zip(outputs, got, wanted, strict=True):
        said = _difference(have, want)
        if said is not None:
            raise CheckpointError(
                f"{path}: output {name!r} is not what onnx.reference computes ({said}); one of the two has a "
                f"defect, so the file is not read"
            )
    return "onnx.reference: equal"


def _reference(path: Path, plan: Plan, values: Sequence[torch.Tensor], outputs: Sequence[str]) -> list[Any]:
    """The outputs; only nodes of the plan are computed, whose sizes are known to be within the limits."""
    with foreign_code("onnx.reference does not compute it"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import onnx
        from onnx.reference import ReferenceEvaluator

        model = onnx.load(path)
        if model.functions:
            raise CheckpointError("the file defines functions of its own")
        made = {name for node in plan.body.nodes for name in node.outputs}
        kept = [node for node in model.graph.node if made.intersection(node.output)]
        del model.graph.node[:]
        model.graph.node.extend(kept)
        given = dict(zip(plan.body.inputs, (_array(value) for value in values), strict=True))
        return list(ReferenceEvaluator(model).run(list(outputs), given))


def _array(value: torch.Tensor) -> Any:
    if value.dtype == torch.bfloat16:
        raise TypeError("bfloat16 inputs")
    return value.numpy()


def _difference(have: torch.Tensor, want: Any) -> str | None:
    if have.dtype in (torch.bfloat16, torch.float16):
        return None
    got, wanted = have.numpy(), np.asarray(want)
    if got.shape != wanted.shape:
        return f"{list(got.shape)} and {list(wanted.shape)}"
    if got.dtype.kind != "f":
        return None if np.array_equal(got, wanted) else "other numbers"
    finite = np.abs(wanted[np.isfinite(wanted)])
    scale = float(finite.max()) if finite.size else 0.0
    if np.allclose(got, wanted, rtol=0.0, atol=TOLERANCE * scale, equal_nan=True):
        return None
    return f"off by {float(np.nanmax(np.abs(got - wanted))):.3g} of {scale:.3g}"
