"""Single operations over every dtype, drawn into networks of several outputs.

Each takes two inputs of one dtype, [B, 3, W]. What the native engine does not cover it must refuse.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Operation = Callable[[Tensor, Tensor], Tensor | tuple[Tensor, ...]]

ORDER: tuple[Operation, ...] = (
    lambda x, y: x > y, lambda x, y: (x == y) | (x < 1), lambda x, y: (x >= y) == (x > 0),
    lambda x, y: x.amax(-1), lambda x, y: x.amin(1), lambda x, y: x.max(-1), lambda x, y: x.min(1),
    lambda x, y: x.argmax(-1), lambda x, y: x.flatten(1).argmin(-1), lambda x, y: torch.maximum(x, y),
    lambda x, y: torch.minimum(x, y), lambda x, y: torch.where(x > y, x, y),
    lambda x, y: torch.cat([x, y], -1), lambda x, y: torch.stack([x, y], 1), lambda x, y: x.flip(-1),
    lambda x, y: x.transpose(1, 2).clone(), lambda x, y: torch.roll(x, 2, -1),
    lambda x, y: F.pad(x, (1, 2)), lambda x, y: x[..., ::2], lambda x, y: x.sum(-1),
    lambda x, y: x.sum((1, 2)), lambda x, y: x.prod(1), lambda x, y: x.any(-1), lambda x, y: x.all(1),
    lambda x, y: x.to(torch.float32) * 2, lambda x, y: x.double(), lambda x, y: x.long(),
    lambda x, y: x.to(torch.int32), lambda x, y: x.to(torch.int8), lambda x, y: x.to(torch.uint8),
    lambda x, y: x.bool(), lambda x, y: x.float().softmax(-1), lambda x, y: x + 1, lambda x, y: x * 0.5,
    lambda x, y: x.masked_fill(y > 0, 0), lambda x, y: torch.logical_and(x, y),
    lambda x, y: torch.logical_not(x), lambda x, y: x.eq(y).sum(-1),
    lambda x, y: x.unsqueeze(1).expand(-1, 2, -1, -1) > 0, lambda x, y: x / 2,
    lambda x, y: x.to(torch.float32).mean(-1) > 0.5,
    lambda x, y: torch.cat([x.float(), (y > 0).float()], 1), lambda x, y: x.ne(0),
    lambda x, y: x.mean(-1, dtype=torch.float32), lambda x, y: x * y, lambda x, y: x + y,
)  # fmt: skip
"""For every dtype."""
NUMBER: tuple[Operation, ...] = (
    lambda x, y: x - y, lambda x, y: -x, lambda x, y: x.abs(), lambda x, y: x.sign(),
    lambda x, y: x.clamp(-1, 2), lambda x, y: x.clamp(min=0), lambda x, y: x.clamp(0, 1.5),
    lambda x, y: x // 3, lambda x, y: x % 3, lambda x, y: x**2, lambda x, y: x**3,
    lambda x, y: torch.relu(x), lambda x, y: x.square(), lambda x, y: 3 - x,
    lambda x, y: torch.div(x, 2, rounding_mode="trunc"), lambda x, y: x > 0.5, lambda x, y: F.relu6(x),
    lambda x, y: torch.sqrt(x.abs()), lambda x, y: x.floor(), lambda x, y: x * 3 + y,
)  # fmt: skip
WHOLE: tuple[Operation, ...] = (
    lambda x, y: x & y, lambda x, y: x | y, lambda x, y: x ^ y, lambda x, y: ~x, lambda x, y: x & 1,
    lambda x, y: x // y.abs().clamp(min=1), lambda x, y: F.one_hot(x.long() % 4, 4), lambda x, y: x // -2,
    lambda x, y: torch.arange(9).to(x.dtype)[(x % 5).long()], lambda x, y: x % -3,
)  # fmt: skip
REAL: tuple[Operation, ...] = (
    lambda x, y: x / y, lambda x, y: x // y, lambda x, y: x % y, lambda x, y: torch.fmod(x, y),
    lambda x, y: torch.div(x, y, rounding_mode="trunc"), lambda x, y: x.softmax(-1),
    lambda x, y: x.softmax(1), lambda x, y: x.log_softmax(-1), lambda x, y: x.logsumexp(-1),
    lambda x, y: torch.var_mean(x, -1), lambda x, y: torch.std_mean(x, 1), lambda x, y: x.var((1, 2)),
    lambda x, y: x.mean(-1), lambda x, y: x.std(1), lambda x, y: x.norm(dim=-1), lambda x, y: x.isnan(),
    lambda x, y: x.isinf() | (y > 0), lambda x, y: x.exp(), lambda x, y: x.log(), lambda x, y: x.sqrt(),
    lambda x, y: x.rsqrt(), lambda x, y: x.reciprocal(), lambda x, y: x.tanh(),
    lambda x, y: x.sigmoid() > 0.5, lambda x, y: x.erf(), lambda x, y: F.gelu(x), lambda x, y: F.silu(x),
    lambda x, y: F.softplus(x), lambda x, y: F.elu(x), lambda x, y: x.round(), lambda x, y: x.trunc(),
    lambda x, y: x.ceil(), lambda x, y: x.expm1(), lambda x, y: x.log1p(), lambda x, y: x.sin(),
    lambda x, y: torch.atan2(x, y), lambda x, y: x.pow(y), lambda x, y: x.log2(),
    lambda x, y: F.layer_norm(x, x.shape[-1:]), lambda x, y: x @ y.transpose(1, 2),
    lambda x, y: F.selu(x), lambda x, y: F.scaled_dot_product_attention(x, y, x.flip(1), is_causal=True),
    lambda x, y: F.hardswish(x), lambda x, y: F.scaled_dot_product_attention(x, y, y.flip(1)),
    lambda x, y: F.leaky_relu(x), lambda x, y: torch.lerp(x, y, 0.25),
    lambda x, y: torch.addcmul(x, x, y), lambda x, y: x.amax((1, 2)), lambda x, y: F.avg_pool1d(x, 2),
    lambda x, y: F.max_pool1d(x, 3, padding=1), lambda x, y: F.mish(x),
    lambda x, y: (torch.stack([x, y], 1) * x.unsqueeze(1) + 1) * F.silu(y).unsqueeze(1),
    lambda x, y: x.sum(1) * y.sum(1), lambda x, y: (x[:, 0] + y[:, 1]) * F.silu(y),
    lambda x, y: x[:, :1].squeeze(1) - y.mean(1),
)  # fmt: skip

DTYPES: dict[torch.dtype, tuple[Operation, ...]] = {
    torch.float32: (*ORDER, *NUMBER, *REAL, *REAL),
    torch.float64: (*ORDER, *NUMBER, *REAL, *REAL),
    torch.int64: (*ORDER, *NUMBER, *WHOLE),
    torch.int32: (*ORDER, *NUMBER, *WHOLE),
    torch.int16: (*ORDER, *NUMBER, *WHOLE),
    torch.int8: (*ORDER, *NUMBER, *WHOLE),
    torch.uint8: (*ORDER, *NUMBER, *WHOLE),
    torch.bool: (*ORDER, *WHOLE[:4]),
}
"""What can be drawn for inputs of each dtype."""


class Operations(nn.Module):
    """All outputs of all operations."""

    def __init__(self, operations: list[Operation]) -> None:
        super().__init__()
        self.operations = operations

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        results = [operation(x, y) for operation in self.operations]
        return tuple(
            part for result in results for part in (result if isinstance(result, tuple) else (result,))
        )
