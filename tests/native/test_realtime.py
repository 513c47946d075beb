"""Code under the real-time contract: the same answers without a branch on numbers, or a refusal by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grandopt.compiler.backends.native.build import NativeSource, render
from grandopt.compiler.backends.native.levels import LEVELS
from grandopt.compiler.backends.native.passes.pipeline import simplify
from grandopt.compiler.backends.native.translate import translate
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.errors import UnsupportedError
from tests.native.conftest import BEST, Make
from tests.native.networks import Attention, Recurrent

WIDE = next(level for level in LEVELS if level.name == "x86-64-v4")
REALTIME = BEST.model_copy(update={"realtime": True})


class Choices(nn.Module):
    """What chooses by numbers: places, extremes, indices, masks, casts, functions of single numbers."""

    def forward(self, x: Tensor, index: Tensor) -> tuple[Tensor, ...]:
        turned = x.unflatten(1, (3, 4)).transpose(1, 2)
        return (
            x.argmax(-1),
            x.argmin(-1),
            *x.cummax(1),
            *x.cummin(1),
            x.gather(1, index),
            x.scatter(1, index, x * 2),
            torch.where(index > 2, x[:, :3].amax(-1, keepdim=True), -x),
            x.clamp(-1e9, 1e9).to(torch.int64),
            x.clamp(-1e9, 1e9).to(torch.int32) % 3,
            index // 4 + index.abs() - torch.relu(index - 2),
            turned.exp().flatten(1),
            F.gelu(turned).tanh().flatten(1),
            (index.float() * 0.3).sigmoid(),
            torch.maximum(x.double(), index.double()),
        )


def _source(module: nn.Module, *example: Tensor, realtime: bool = True) -> NativeSource:
    exported = capture(from_module("agent", module.eval(), example), 0).exported
    assert exported is not None
    return render(simplify(translate("agent", exported)), [WIDE], 1, realtime=realtime)


def test_answers_are_those_without_the_contract(native: Make) -> None:
    torch.manual_seed(0)
    x, index = torch.randn(2, 12) * 3, torch.randint(0, 12, (2, 12))
    x[0, [1, 4, 7]] = torch.tensor([float("nan"), float("inf"), float("-inf")])
    straight = native(Choices(), x, index, options=REALTIME)
    usual = native(Choices(), x, index)
    given = [x.numpy(), index.numpy()]
    for number, (mine, theirs) in enumerate(zip(straight.run(given), usual.run(given), strict=True)):
        np.testing.assert_allclose(mine, theirs, 2e-6, err_msg=str(number))


def test_zeros_are_multiplied_like_other_numbers() -> None:
    module = nn.Sequential(nn.Linear(8, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 3))
    example = torch.zeros(2, 8)
    assert "nonzero_numbers(" in _source(module, example, realtime=False).texts[WIDE]
    assert "nonzero_numbers(" not in _source(module, example).texts[WIDE]


def test_what_a_mask_hides_is_computed() -> None:
    module, example = Attention(32, 2, causal=True), torch.zeros(2, 48, 32)
    assert "any_beyond(px" in _source(module, example, realtime=False).texts[WIDE].replace("((", "(")
    assert "any_beyond(px" not in _source(module, example).texts[WIDE].replace("((", "(")


def test_text_differs_from_the_usual_by_its_first_lines_alone_where_nothing_branches() -> None:
    module, example = Recurrent(nn.LSTM, 5, 18, 1, False, last=True), torch.zeros(2, 2, 5)
    own = [
        _source(module, example, realtime=realtime)
        .texts[WIDE]
        .partition("extern const unsigned char weights[];\n")[2]
        .partition("forward_1(const")[0]
        for realtime in (True, False)
    ]
    assert own[0] == own[1]


REFUSED: dict[str, Callable[[Tensor], Tensor]] = {
    "sin is": torch.sin,
    "sorting": lambda x: x.sort(dim=1, stable=True)[0],
    "logcumsumexp": lambda x: x.logcumsumexp(1),
    "remainder is": lambda x: x % 3.0,
    "exp of float64": lambda x: x.double().exp(),
    "pow is": lambda x: x.abs() ** 2.5,
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_has_to_branch_is_refused_by_name(words: str) -> None:
    class One(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return REFUSED[words](x)

    with pytest.raises(UnsupportedError, match=f"real-time contract: {words}"):
        _source(One(), torch.ones(2, 4))


def test_tiles_are_refused() -> None:
    module, example = nn.Linear(4, 3), torch.ones(2, 4)
    exported = capture(from_module("agent", module.eval(), (example,)), 0).exported
    assert exported is not None
    graph = simplify(translate("agent", exported))
    with pytest.raises(UnsupportedError, match="tiles"):
        render(graph, [replace(WIDE, features=(*WIDE.features, "amx_tile"))], 1, realtime=True)
