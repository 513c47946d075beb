"""The kinds of layers that a `Graph` may hold, with their settings: the vocabulary of writers and translator.

Axes are never negative. What a writer's engine lacks it refuses by UnsupportedError.
"""

from __future__ import annotations

UNARY = ("relu", "tanh", "sigmoid", "exp", "log", "sqrt", "rsqrt", "negative", "absolute")
"""Element by element, without settings."""

SHAPED_UNARY = ("gelu", "elu", "leaky_relu", "cast")
"""Element by element: gelu {approximate: bool}, elu {alpha}, leaky_relu {slope}, cast {} (to float32)."""

BINARY = ("add", "subtract", "multiply", "divide", "maximum", "minimum")
"""Of two values whose shapes broadcast."""

REDUCTIONS = ("reduce_mean", "reduce_sum", "reduce_max")
"""Over {axes}, which stay as 1 where {keep}."""

OTHERS = (
    "linear",  # x [..., K], weight [N, K] and perhaps bias [N]
    "matmul",  # of two values [..., M, K] and [..., K, N] with equal dimensions before
    "softmax",  # {axis}
    "reshape",
    "transpose",  # {order}
    "concat",  # {axis}
    "slice",  # {axis, start, stop}
    "reverse",  # {axis}
    "broadcast",
    "full",  # {value}
    "pad",  # {before, after} per axis, {value}
    "convolution",  # [B, C, …], weight, bias: {stride, padding, dilation} per axis, {groups}
    "pool",  # [B, C, H, W]: {mode: "max" or "average", kernel, stride}
)

KINDS = (*UNARY, *SHAPED_UNARY, *BINARY, *REDUCTIONS, *OTHERS)
