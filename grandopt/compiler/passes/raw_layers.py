"""Which layers of a network read raw observations: those that an input reaches without another product.

Found by running the network on its example and following the inputs from operator to operator.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from grandopt.compiler.program import FORWARD_ERRORS, copied, evaluate
from grandopt.errors import UnsupportedError, first_line

PRODUCTS = frozenset(
    [
        *(
            "mm",
            "addmm",
            "bmm",
            "baddbmm",
            "addbmm",
            "mv",
            "addmv",
            "dot",
            "vdot",
            "addr",
            "linear",
            "matmul",
        ),
        *("convolution", "_convolution", "mkldnn_convolution", "mkldnn_linear", "mkldnn_rnn_layer"),
        *("lstm", "gru", "rnn_tanh", "rnn_relu", "_trilinear", "scaled_dot_product_attention"),
        *("_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_attention_math"),
        *("_native_multi_head_attention", "_transformer_encoder_layer_fwd"),
    ]
)
"""ATen's products by name: what comes out of one is no raw observation any more."""


ALL_RAW = "all its layers read raw observations, and stay in float32"
"""Why a network has no layer for a reduced precision that leaves such layers alone."""


def raw_layers(
    module: nn.Module, example: Sequence[torch.Tensor], kinds: tuple[type[nn.Module], ...]
) -> frozenset[str]:
    """The names, all of each layer's, of the layers of these kinds that read raw observations.

    Raises UnsupportedError when the network does not run on its example.
    """
    twin = copied(module)
    layers = {
        name: layer for name, layer in twin.named_modules(remove_duplicate=False) if type(layer) in kinds
    }
    following = _Following()
    for layer in set(layers.values()):
        layer.register_forward_pre_hook(following.enter, with_kwargs=True)
        layer.register_forward_hook(following.leave)
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # it computes whole layers without calling their parts
    try:
        evaluate(_Watched(twin, following), example)
    except FORWARD_ERRORS as error:
        raise UnsupportedError(
            f"which layers read raw observations cannot be found: {first_line(error)}"
        ) from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return frozenset(name for name, layer in layers.items() if layer in following.reached)


class _Watched(nn.Module):
    def __init__(self, module: nn.Module, following: _Following) -> None:
        super().__init__()
        self.module, self.following = module, following
        self.train(module.training)

    def forward(self, *inputs: torch.Tensor) -> Any:
        self.following.mark(inputs)
        with self.following:
            return self.module(*inputs)


class _Following(TorchDispatchMode):
    """Marks tensors that are computed of the inputs without a product, and layers that are given one."""

    def __init__(self) -> None:
        super().__init__()
        self.reached: set[nn.Module] = set()
        self._raw = WeakTensorKeyDictionary()

    def mark(self, values: Any, raw: bool = True) -> None:
        for value in tree_leaves(values):
            if isinstance(value, torch.Tensor):
                if raw:
                    self._raw[value] = True
                else:
                    self._raw.pop(value, None)

    def enter(self, layer: nn.Module, values: Any, named: Any) -> None:
        if self._any((values, named)):
            self.reached.add(layer)

    def leave(self, layer: nn.Module, values: Any, results: Any) -> None:
        self.mark(results, raw=False)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        raw = self._any((args, kwargs))
        results = func(*args, **kwargs)
        if raw and func.overloadpacket.__name__ not in PRODUCTS:
            self.mark(results)
        return results

    def _any(self, values: Any) -> bool:
        return any(isinstance(value, torch.Tensor) and value in self._raw for value in tree_leaves(values))
