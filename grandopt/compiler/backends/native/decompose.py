"""An exported program in terms of the operators that have a translator, as far as torch can take it there."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import torch
from torch._decomp import get_decompositions

from grandopt.compiler.program import FORWARD_ERRORS
from grandopt.compiler.torch_faults import mend_lstm_states
from grandopt.errors import UnsupportedError, first_line

KEPT_WHOLE = (
    "linear", "matmul", "scaled_dot_product_attention", "layer_norm", "batch_norm", "rms_norm",
    "group_norm", "softplus", "softmax.int", "log_softmax.int", "lstm.input", "gru.input", "dropout",
    "silu", "hardswish", "hardsigmoid", "leaky_relu", "elu", "adaptive_avg_pool1d", "adaptive_avg_pool2d",
    "max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d", "square", "stack", "lerp.Scalar", "addcmul",
    "logsumexp", "unbind.int", "linalg_vector_norm", "std.correction", "var.correction", "instance_norm",
    "_softmax_backward_data", "max_unpool2d", "max_unpool3d", "upsample_trilinear3d",
    "upsample_trilinear3d.vec",
)  # fmt: skip
"""Those with a translator, and those whose decomposition treats NaN and infinity in another way."""
DECOMPOSED = (
    "upsample_bicubic2d", "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d",
)  # fmt: skip
"""What torch counts among the core operators, although it can say what they are made of."""
UNLIKE = ("aten.multi_margin_loss.", "aten.multilabel_margin_loss")
"""Decomposed by torch whatever it is told, into what lets NaN through where the operator does not."""


def decomposed(name: str, exported: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """The program over core ATen operators and KEPT_WHOLE; raises UnsupportedError where torch fails."""
    for node in exported.graph.nodes:
        if str(node.target).startswith(UNLIKE):
            condition = "as what it is made of, which treats NaN in another way,"
            raise UnsupportedError(f"{node.target} {condition} is not covered by the native engine")
    mend_lstm_states()
    with warnings.catch_warnings():
        # torch 2.13 warns of its own use of a deprecated class while it copies the program.
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
        try:
            made = exported.run_decompositions(dict(_table()))
        except FORWARD_ERRORS as error:
            raise UnsupportedError(f"{name}: torch cannot decompose it: {first_line(error)}") from error
    _drop_assertions(made.graph)
    return made


def _drop_assertions(graph: torch.fx.Graph) -> None:
    """Take out the assertions on values and what is computed for them alone, over all samples of a batch."""
    for node in reversed(graph.nodes):
        asserts = str(node.target).startswith("aten._assert")
        unused = node.op == "call_function" and not node.users
        if unused and (asserts or not node.is_impure()):
            graph.erase_node(node)


@cache
def _table() -> dict[Any, Any]:
    """The same for all programs; torch takes most of a second to list its operators."""
    table = torch.export.default_decompositions()
    for name in KEPT_WHOLE:
        packet, _, overload = name.partition(".")
        table.pop(getattr(getattr(torch.ops.aten, packet), overload or "default"), None)
    more = [getattr(torch.ops.aten, name) for name in DECOMPOSED]
    return {**dict(table.items()), **get_decompositions(more)}
