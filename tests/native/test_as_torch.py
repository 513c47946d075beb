"""Right answers that once were wrong, each as torch gives it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._decomp import decompositions

from grandopt.runtime.executors.base import Executor
from grandopt.signature import Array
from tests.native.conftest import Make
from tests.native.networks import CELLS, Kind, Recurrent

BATCHES = (1, 7, 8, 9, 16, 17, 33)


def _same(got: tuple[Array, ...], wanted: tuple[Tensor, ...]) -> None:
    for place, (mine, torchs) in enumerate(zip(got, wanted, strict=True)):
        right = torchs.detach().numpy()
        assert mine.dtype == right.dtype, place
        exact = 1e-12 if right.dtype == np.float64 else 1e-5
        np.testing.assert_allclose(mine, right, rtol=exact, atol=exact / 10, err_msg=f"output {place}")


class Values(nn.Module):
    """Quotients, spreads and soft maxima in one dtype."""

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        return (
            x // y, x % y, x // 2.0, x % 1.0, *torch.var_mean(x, -1), *torch.std_mean(x, 1, correction=0),
            x.softmax(-1), x.log_softmax(-1), x.softmax(1), x > 0, x.isnan(), x.sigmoid() > 0.5,
            (x > 0) == (y > 0), torch.where(x > 0, x < 1, x > -1), x.to(torch.int8), x.to(torch.int32),
        )  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_infinities_nan_and_inexact_quotients(native: Make, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(33, 3, 13, dtype=dtype) * 3, torch.randn(33, 3, 13, dtype=dtype)
    x[1, 0, 2], x[2, 1, -1], x[3, 2, 0], x[4, :, 5] = math.inf, math.inf, -math.inf, math.nan
    y[5, 0, :4], y[6], x[7], y[7] = 0.0, -math.inf, 1.0, 0.1
    executor = native(Values().eval(), x[:2], y[:2])
    for batch in BATCHES:
        inputs = x[:batch].numpy().copy(), y[:batch].numpy().copy()
        first, second = executor.run(inputs), executor.run(inputs)
        assert all(a.tobytes() == b.tobytes() for a, b in zip(first, second, strict=True))
        _same(first, Values()(x[:batch], y[:batch]))


@pytest.mark.parametrize("kind", CELLS[2:])
def test_a_plain_rnn_at_every_batch(native: Make, kind: Kind) -> None:
    torch.manual_seed(0)
    network = Recurrent(kind, 5, 6, 2, True, last=False).eval()
    executor = native(network, torch.zeros(2, 4, 5))
    for batch in BATCHES:
        x = torch.randn(batch, 4, 5)
        _same(executor.run((x.numpy(),)), (network(x),))


class Mamba(nn.Module):
    """The end of a Mamba block: steps side by side, a skip, and a gate of lower rank than the steps."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.gate = nn.Linear(5, 12), nn.Linear(5, 12)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        steps, gate = self.inner(x), self.gate(x)
        stack = torch.stack([steps[:, i] * 0.5 + i for i in range(4)], 1)
        return (stack + steps * 0.3) * F.silu(gate), (stack[:, 0] + gate[:, 1]).unsqueeze(1) * gate


def test_a_mamba_block_at_every_batch(native: Make) -> None:
    torch.manual_seed(0)
    network = Mamba().eval()
    executor = native(network, torch.zeros(2, 4, 5))
    for batch in BATCHES:
        x = torch.randn(batch, 4, 5)
        _same(executor.run((x.numpy(),)), network(x))


class Attend(nn.Module):
    """Causal and masked attention; one mask admits nothing to a row."""

    def forward(self, q: Tensor, k: Tensor) -> tuple[Tensor, ...]:
        mask = torch.ones(4, 4, dtype=torch.bool).tril()
        mask[2] = False
        return (
            F.scaled_dot_product_attention(q, k, q, is_causal=True),
            F.scaled_dot_product_attention(q, k, q, attn_mask=mask),
            F.scaled_dot_product_attention(q[:, 0], k[:, 0], q[:, 0], is_causal=True),
        )


@pytest.fixture(scope="module")
def attending(native: Make) -> Executor:
    """The executor, built once for all steps."""
    return native(Attend().eval(), *[torch.zeros(2, 2, 4, 8)] * 2)


@pytest.mark.parametrize("step", range(4))
def test_nan_in_a_step_of_the_keys_reaches_what_it_is_a_part_of(attending: Executor, step: int) -> None:
    """What torch's kernels for float32 and, on some CPUs, for float64 do with it is another matter."""
    torch.manual_seed(0)
    q = torch.randn(9, 2, 4, 8)
    k = q.clone()
    k[3, :, step] = math.nan
    wanted = tuple(part.float() for part in Attend()(q.double(), q.double()))
    wanted[0][3, :, step:] = math.nan
    for masked in wanted[1:]:  # a mask is added, which leaves a NaN what it is
        masked[3] = math.nan
    _same(attending.run((q.numpy(), k.numpy())), wanted)


class Sequence(nn.Module):
    """What an LSTM gives at every step; its last states are left alone."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, 7, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.lstm(x)[0]


def test_what_torch_says_of_results_that_nothing_reads(monkeypatch: pytest.MonkeyPatch, native: Make) -> None:
    """torch 2.11 says that the last states of an LSTM have an axis more than they have."""
    real = decompositions.one_layer_lstm

    def older(*given: Any, **options: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
        out, states = real(*given, **options)
        return out, tuple(state.unsqueeze(0) for state in states)

    x = torch.randn(3, 4, 5)
    network = Sequence()
    monkeypatch.setattr(decompositions, "one_layer_lstm", older)
    with torch.no_grad():
        _same(native(network, x).run([x.numpy()]), (network(x),))
