"""Operators beyond products and element-wise ones: numbers, indices, NaN and order as torch's."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grandopt.compiler.backends.native import operators
from grandopt.errors import UnsupportedError
from tests.native.conftest import Make

Function = Callable[[Tensor], Tensor]


class Several(nn.Module):
    """Many functions of one input: one network to compile."""

    def __init__(self, *functions: Callable[[Tensor], Tensor | tuple[Tensor, ...]]) -> None:
        super().__init__()
        self.functions = functions

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        found: list[Tensor] = []
        for function in self.functions:
            result = function(x)
            found += [result] if isinstance(result, Tensor) else list(result)
        return tuple(found)


def _same(native: Make, module: nn.Module, *inputs: Tensor, exact: bool = False) -> None:
    module = module.eval().requires_grad_(False)
    executor = native(module, *inputs)
    for batch in (1, 9):
        given = [value.repeat(5, *(1 for _ in value.shape[1:]))[:batch] for value in inputs]
        with torch.no_grad():
            wanted = module(*given)
        got = executor.run([value.contiguous().numpy() for value in given])
        for number, (mine, theirs) in enumerate(zip(got, wanted, strict=True)):
            assert mine.dtype == theirs.numpy().dtype, number
            if exact or mine.dtype.kind != "f":
                np.testing.assert_array_equal(mine, theirs.numpy(), str(number))
            else:
                np.testing.assert_allclose(mine, theirs.numpy(), 2e-5, 2e-6, err_msg=str(number))


def _drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(2, *shape, generator=torch.Generator().manual_seed(seed))


def _with_nan(x: Tensor) -> Tensor:
    """NaN, infinities, equal and opposite zeros in the first row."""
    flat = x[0].reshape(-1)
    flat[[1, 4, 7]] = torch.tensor([float("nan"), float("inf"), float("-inf")])
    flat[[8, 9, 10]] = 0.0
    return x


def test_pooling_of_windows_that_are_not_all_alike(native: Make) -> None:
    module = Several(
        lambda x: F.avg_pool2d(x, 3, stride=2, ceil_mode=True),
        lambda x: F.avg_pool2d(x, 3, padding=1, count_include_pad=False),
        lambda x: F.avg_pool2d(x, (2, 3), stride=2, padding=1, ceil_mode=True, divisor_override=7),
        lambda x: F.avg_pool1d(x.flatten(2), 4, stride=3, padding=2, ceil_mode=True),
        lambda x: F.adaptive_avg_pool2d(x, (3, 5)),
        lambda x: F.adaptive_avg_pool3d(x, (2, 3, 4)),
        lambda x: F.avg_pool3d(x, 2, stride=1, padding=1),
        lambda x: F.max_pool3d(x, 2, ceil_mode=True),
        lambda x: F.max_pool2d(x, 3, stride=2, ceil_mode=True, dilation=2),
    )
    _same(native, module, _drawn(3, 7, 8))


def test_places_of_maxima(native: Make) -> None:
    module = Several(
        lambda x: F.max_pool2d(x, 3, stride=2, padding=1, return_indices=True),
        lambda x: F.max_pool2d(x, 2, stride=2, ceil_mode=True, return_indices=True),
        lambda x: F.max_pool1d(x.flatten(2), 3, return_indices=True),
        lambda x: F.max_pool3d(x, 2, return_indices=True),
        lambda x: F.adaptive_max_pool2d(x, (3, 4), return_indices=True),
        lambda x: F.adaptive_max_pool3d(x, (2, 3, 3), return_indices=True),
    )
    _same(native, module, _with_nan(_drawn(3, 7, 8)), exact=True)


def test_transposed_convolution_and_unfold(native: Make) -> None:
    torch.manual_seed(0)
    module = Several(
        nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2),
        nn.ConvTranspose2d(4, 2, (2, 3), stride=(3, 1), dilation=2, padding=(3, 4), bias=False),
        lambda x: nn.functional.conv_transpose1d(x.flatten(2), torch.ones(4, 1, 2), stride=2),
        lambda x: F.unfold(x, (2, 3), dilation=(1, 2), padding=1, stride=2),
        lambda x: x.unfold(3, 3, 2),
    )
    _same(native, module, _drawn(4, 5, 6))


def test_norms_with_all_their_results(native: Make) -> None:
    torch.manual_seed(0)
    tracked = nn.InstanceNorm2d(3, affine=True, track_running_stats=True)
    nn.init.normal_(tracked.running_mean)  # type: ignore[arg-type]
    module = Several(
        nn.InstanceNorm2d(3, affine=True),
        tracked,
        lambda x: torch.native_layer_norm(x, [4, 5], torch.ones(4, 5), None, 1e-5),
    )
    _same(native, module, _drawn(3, 4, 5))


def test_running_totals_and_extremes(native: Make) -> None:
    module = Several(
        lambda x: x.cumsum(1),
        lambda x: x.cumprod(2),
        lambda x: x.cummax(2),
        lambda x: x.cummin(1),
        lambda x: x.logcumsumexp(2),
        lambda x: (x > 0).cumsum(2),
    )
    _same(native, module, _with_nan(_drawn(4, 6)))


def test_sorted_rows_have_nan_last_and_equals_in_order(native: Make) -> None:
    module = Several(
        lambda x: x.sort(dim=2, stable=True),
        lambda x: x.sort(dim=1, descending=True, stable=True),
        lambda x: x.argsort(dim=2, stable=True),
        lambda x: x.median(2).values,
        lambda x: x.nanmedian(2)[0],
        lambda x: x.kthvalue(3, 2).values,
        lambda x: x.topk(3, 2)[0],
        lambda x: torch.bucketize(x, torch.tensor([-1.0, 0.0, 0.5])),
    )
    _same(native, module, _with_nan(_drawn(3, 40)), exact=True)


def test_a_long_row_is_sorted(native: Make) -> None:
    _same(native, Several(lambda x: x.sort(dim=1, stable=True)), (_drawn(3000) * 50).round(), exact=True)


class Written(nn.Module):
    """Values written at computed places."""

    def forward(self, x: Tensor, index: Tensor) -> tuple[Tensor, ...]:
        rows = torch.arange(x.shape[0])
        return (
            x.scatter(1, index, x * 2),
            x.scatter_add(1, index, x),
            x.scatter_reduce(1, index, x, "amax", include_self=False),
            x.scatter_reduce(1, index, x, "mean"),
            x[rows, index[:, 0]],
            x.gather(1, index),
            torch.diagonal(x.unflatten(1, (2, 3)), 1, 1, 2),
            torch.slice_scatter(x, index.to(x.dtype), 1),
        )


def test_scattered_values(native: Make) -> None:
    index = torch.tensor([[0, 5, 0, 1, 2, 3], [5, 4, 3, 2, 1, 1]])
    _same(native, Written(), _with_nan(_drawn(12))[:, :6], index)


class Spread(nn.Module):
    """Recurrences whose first state is one number in all units."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(5, 18, batch_first=True)
        self.lstm = nn.LSTM(5, 18, batch_first=True)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        first = x[:, 0, :1].expand(-1, 18).unsqueeze(0)
        return self.gru(x, first)[0], self.lstm(x, (first, first))[0]


def test_a_first_state_that_is_one_number_in_all_units(native: Make) -> None:
    torch.manual_seed(0)
    _same(native, Spread(), _drawn(4, 5))


def test_functions_of_two_numbers_and_rare_ones(native: Make) -> None:
    module = Several(
        lambda x: torch.fmin(x, x.flip(1)),
        lambda x: torch.fmax(x, x.flip(1)),
        lambda x: torch.copysign(x.flip(1), x),
        lambda x: torch.hypot(x, x.flip(1)),
        lambda x: torch.heaviside(x, torch.tensor(0.5)),
        lambda x: torch.signbit(x),
        lambda x: x.asinh(),
        lambda x: x.acosh(),
        lambda x: x.atanh(),
        lambda x: torch.erfinv(x),
        lambda x: torch.digamma(x),
        lambda x: torch.special.i0e(x),
        lambda x: torch.special.log_ndtr(x),
        lambda x: torch.special.ndtri(x.sigmoid()),
    )
    _same(native, module, _with_nan(_drawn(12) * 2))


def test_an_infinity_is_one_to_the_sum_after_it(native: Make) -> None:
    """A fused multiply-add would see the product before it overflows."""
    module = Several(lambda x: x.exp() - x * 2, lambda x: x.sigmoid() * x.exp() - x.exp())
    _same(native, module, torch.tensor([[float("inf"), 100.0, -100.0, 1.0] * 5] * 2))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.cummax(0)[0],
        lambda x: x.sort(0)[0],
        lambda x: x.roll(1),
        lambda x: x.scatter(0, torch.zeros(1, 6, dtype=torch.int64).expand(x.shape), x),
        lambda x: x.take(torch.zeros(x.shape, dtype=torch.int64)),
        lambda x: x[(x[:, 0] > 0).long()],
        lambda x: x * x.shape[0],
        lambda x: x + torch.arange(x.shape[0]).unsqueeze(1),
        lambda x: torch.bucketize(x[:, 0].contiguous(), x[:, 1].contiguous()),
    ],
)
def test_what_mixes_samples_is_refused(native: Make, function: Function) -> None:
    with pytest.raises(UnsupportedError, match=r"^aten\.\w+\.\w+ .* is not covered by the native engine$"):
        native(Several(function), _drawn(6))


def test_translators_refuse_by_condition_only() -> None:
    """The operator's name is put before it in one place, so that no refusal is without one."""
    for source in Path(operators.__file__).parent.glob("*.py"):
        raised = [node.exc for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.Raise)]
        called = {ast.unparse(error.func) for error in raised if isinstance(error, ast.Call)}
        assert called <= {"ConditionError"}, source.name


def test_a_refusal_names_operator_and_condition(native: Make) -> None:
    with pytest.raises(UnsupportedError, match=r"^aten\.topk\.default with its indices as an output"):
        native(Several(lambda x: x.topk(2)), _drawn(6))
    with pytest.raises(UnsupportedError, match=r"^aten\._linalg_det\.default \(any use of it\) is not"):
        native(Several(lambda x: torch.linalg.det(x.unflatten(1, (2, 3))[:, :, :2])), _drawn(6))
