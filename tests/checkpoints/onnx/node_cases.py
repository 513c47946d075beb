"""ONNX's own cases of its operators, and what becomes of one in our reader."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from grandopt.compiler.checkpoints.onnx import document
from grandopt.compiler.checkpoints.onnx.call import NotConstantError
from grandopt.compiler.checkpoints.onnx.document import Tensor
from grandopt.compiler.checkpoints.onnx.network import OnnxNetwork
from grandopt.compiler.checkpoints.onnx.plan import plan
from grandopt.compiler.checkpoints.onnx.tensors import KINDS, Constants
from grandopt.errors import GrandoptError
from grandopt.signature import Array

_NAMES = """
Relu LeakyRelu PRelu ThresholdedRelu Elu Celu Selu Gelu Mish Swish HardSigmoid HardSwish Hardmax
Sigmoid Softplus Softsign Tanh Shrink Clip Dropout Abs Acos Acosh Asin Asinh Atan Atanh Ceil Cos
Cosh Erf Exp Floor Log Neg Reciprocal Round Sign Sin Sinh Sqrt Tan Add Sub Mul Div Pow Mod Min Max
Sum Mean And Or Xor Not Equal Greater GreaterOrEqual Less LessOrEqual IsNaN IsInf BitwiseAnd
BitwiseOr BitwiseXor BitwiseNot BitShift Where Gemm MatMul Einsum Conv ConvTranspose AveragePool
MaxPool LpPool GlobalAveragePool GlobalMaxPool GlobalLpPool BatchNormalization LayerNormalization
GroupNormalization InstanceNormalization RMSNormalization LpNormalization MeanVarianceNormalization
LRN LSTM GRU RNN ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSum
ReduceLogSumExp ReduceSumSquare Softmax LogSoftmax ArgMax ArgMin TopK CumSum CumProd Shape Size
Reshape Flatten Squeeze Unsqueeze Transpose Concat Split Slice Expand Tile Pad Trilu DepthToSpace
SpaceToDepth Identity Gather GatherElements GatherND Scatter ScatterElements ScatterND OneHot
Compress Cast CastLike Constant ConstantOfShape Range EyeLike Resize Upsample Attention
RotaryEmbedding If Loop
"""
AGENT_OPERATORS = frozenset(_NAMES.split())
"""What agents use: every other operator is refused by name, or computed as an extra."""

ROUNDED = ("test_averagepool_2d_ceil_last_window_starts_on_pad",)
"""Cases whose outputs are written down with four digits."""

RELATIVE = {"float16": 2e-3, "bfloat16": 2e-2}
"""Largest difference relative to the output's largest number; 1e-5 in float32 and wider."""


@dataclass(frozen=True)
class Case:
    """One model with its inputs and outputs. `operators` are all in it."""

    name: str
    content: bytes
    operators: frozenset[str]
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]

    @property
    def dense(self) -> bool:
        """Whether it takes and gives tensors of dtypes that agents have."""
        graph = document.model(self.content, self.name).graph
        infos = (*graph.inputs, *graph.outputs)
        return all(info.kind in KINDS for info in infos) and all(
            isinstance(value, np.ndarray | np.generic) for value in (*self.inputs, *self.outputs)
        )

    @property
    def listed(self) -> bool:
        """Whether it is about operators of agents alone."""
        return self.operators <= AGENT_OPERATORS


@dataclass(frozen=True)
class Outcome:
    """`kind` is "exact", "refused" or "wrong"; `words` say more."""

    kind: str
    words: str = ""


@cache
def cases() -> Mapping[str, Case]:
    """All cases of the installed onnx by name; those with other values than arrays included."""
    return {case.name: case for case in _collected()}


def _collected() -> Iterator[Case]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.loader import load_model_tests

        found = load_model_tests(kind="node")
    yield from (_case(item) for item in found if item.model is not None and item.data_sets)


def case_of(module: str, name: str) -> Case:
    """One case, by the module of onnx that makes it: making all of them takes long. Skips where an older onnx
    has none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case import node

        if importlib.util.find_spec(f"{node.__name__}.{module}") is not None:
            importlib.import_module(f"{node.__name__}.{module}")
    found = next((_case(item) for item in node._NodeTestCases if item.name == name), None)
    if found is None:
        pytest.skip(f"the installed onnx has no case {name}")
    return found


def _case(item: Any) -> Case:
    operators = frozenset(node.op_type for node in item.model.graph.node)
    inputs, outputs = item.data_sets[0]
    return Case(item.name, item.model.SerializeToString(), operators, tuple(inputs), tuple(outputs))


def outcome(case: Case) -> Outcome:
    """What our reader makes of it."""
    try:
        got = _computed(case)
    except GrandoptError as error:
        return Outcome("refused", str(error).removeprefix(f"{case.name}: "))
    for place, (have, want) in enumerate(zip(got, case.outputs, strict=True)):
        said = _difference(have, want, 1e-3 if case.name in ROUNDED else 1e-5)
        if said is not None:
            return Outcome("wrong", f"output {place}: {said}")
    return Outcome("exact")


def _computed(case: Case) -> tuple[torch.Tensor, ...]:
    """The outputs; inputs that must be constant are bound as constants, as files have them."""
    model = document.model(case.content, case.name)
    bound: dict[str, Array] = {}
    given = dict(zip((info.name for info in model.graph.inputs), case.inputs, strict=False))
    while True:
        constants = tuple(_tensor(name, value) for name, value in bound.items())
        graph = replace(model.graph, constants=(*model.graph.constants, *constants))
        where = Constants(Path(case.name), len(case.content) + sum(value.nbytes for value in bound.values()))
        made = plan(replace(model, graph=graph), where)
        try:
            network = OnnxNetwork(made, where).eval()
            values = [_torch(np.array(given[info.name])) for info in made.inputs]
            with torch.no_grad():
                return network(*values)
        except NotConstantError as error:
            names = {error.name} if error.name in given else _whole_numbers(given)
            if names <= bound.keys():
                raise
            bound |= {name: np.asarray(given[name]) for name in names}


def _whole_numbers(given: Mapping[str, Any]) -> set[str]:
    return {name for name, value in given.items() if np.asarray(value).dtype.kind in "ib"}


def _tensor(name: str, value: Array) -> Tensor:
    kind = next(kind for kind, dtype in KINDS.items() if str(dtype) == f"torch.{value.dtype}")
    return Tensor(name, value.shape, kind, memoryview(value.tobytes()))


def _torch(value: Array) -> torch.Tensor:
    if str(value.dtype) == "bfloat16":  # a type that NumPy has from a library
        return torch.from_numpy(value.astype(np.float32)).bfloat16()
    return torch.from_numpy(value)


def _difference(have: torch.Tensor, want: Any, relative: float) -> str | None:
    wanted = np.asarray(want)
    got = have.detach().float().numpy() if have.dtype == torch.bfloat16 else have.detach().numpy()
    if got.shape != wanted.shape:
        return f"{got.shape} instead of {wanted.shape}"
    if have.dtype != torch.bfloat16 and got.dtype != wanted.dtype:
        return f"{got.dtype} instead of {wanted.dtype}"
    if wanted.dtype.kind not in "fV" and str(wanted.dtype) != "bfloat16":
        return None if np.array_equal(got, wanted) else "other numbers"
    wide, other = got.astype(np.float64), wanted.astype(np.float64)
    finite = np.abs(other[np.isfinite(other)])
    scale = float(finite.max()) if finite.size else 0.0
    limit = RELATIVE.get(str(wanted.dtype), relative) * scale
    close = np.isclose(wide, other, rtol=0.0, atol=limit, equal_nan=True)
    return None if close.all() else f"off by {np.nanmax(np.abs(wide - other)[~close]):.3g} of {scale:.3g}"
