"""The shapes of an LSTM's outputs while a graph is captured, without its steps.

`torch.export` keeps an LSTM as one operator and has to know what shapes come out of it. To find out, torch
runs its decomposition on tensors without values: for every layer, direction and step a dozen operators, which
for three layers of sixty steps take longer than the rest of the export many times over.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from torch._decomp import decompositions
from torch._subclasses.fake_tensor import FakeTensor
from torch.fx.experimental.proxy_tensor import get_proxy_mode

Layer = tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]


@contextmanager
def one_step_shows() -> Iterator[None]:
    """Within the block a layer of an LSTM without values is run for its first step alone, whose shapes and
    dtypes are those of all. What has values, or is being recorded, is computed as ever."""
    name = "one_layer_lstm"
    original = getattr(decompositions, name)

    @wraps(original)
    def layer(inp: torch.Tensor, *arguments: Any, **options: Any) -> Layer:
        if not isinstance(inp, FakeTensor) or get_proxy_mode() is not None:
            whole: Layer = original(inp, *arguments, **options)
            return whole
        first, states = original(inp[:1], *arguments, **options)
        return first.new_empty((inp.shape[0], *first.shape[1:])), states

    setattr(decompositions, name, layer)
    try:
        yield
    finally:
        setattr(decompositions, name, original)
