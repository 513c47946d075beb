"""An exported program as a `Graph`; what has no layer is refused with the operator's name."""

from __future__ import annotations

import warnings

import torch
from torch.export import ExportedProgram

from grandopt.compiler.backends.portable import moves  # noqa: F401 - enters its operators
from grandopt.compiler.backends.portable.graph import Graph
from grandopt.compiler.backends.portable.operators import OPERATORS
from grandopt.compiler.backends.portable.translator import Translator
from grandopt.compiler.torch_faults import mend_lstm_states


def translate(exported: ExportedProgram) -> Graph:
    """The network as elementary layers, its LSTMs and GRUs step by step.

    Raises UnsupportedError for an operator, a dtype or a size that layers cannot express, with its name.
    """
    mend_lstm_states()
    table = torch.export.default_decompositions()
    aten = torch.ops.aten
    for whole in (aten.linear.default, aten._safe_softmax.default, aten.softplus.default):
        table.pop(whole, None)  # engines lay out a layer's weight in advance, and have a softmax
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, about its own code
        return Translator(exported.run_decompositions(table), OPERATORS).graph()
