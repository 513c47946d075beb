"""A fault of torch versions that this tool supports, mended before it is met.

Up to torch 2.12, `torch.export` gives the last states of an LSTM one dimension too many when the batch is
not 1: its decomposition takes away the batch's dimension where it means the direction's (`squeeze(1)` for
`squeeze(0)`). The graph that comes out is right, the shapes noted in it are not, and whatever uses such a
state fails.
"""

from __future__ import annotations

from functools import cache, wraps
from typing import Any

import torch
from torch.torch_version import TorchVersion

FAULTY_BEFORE = "2.13"
LAYER = "one_layer_lstm"


@cache
def mend_lstm_states() -> None:
    """Let the decomposition of `aten.lstm` give states of [batch, size] in this process, as later ones do."""
    if TorchVersion(torch.__version__) >= FAULTY_BEFORE:
        return
    from torch._decomp import decompositions

    original = getattr(decompositions, LAYER)

    @wraps(original)
    def mended(*arguments: Any, **options: Any) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        out, (h, c) = original(*arguments, **options)
        return out, (h.squeeze(0), c.squeeze(0)) if h.dim() == 3 else (h, c)

    setattr(decompositions, LAYER, mended)
