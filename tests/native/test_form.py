"""The form, its passes and its memory: what they do to small graphs, and what the check refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from grandopt.compiler.backends.native.builder import Builder
from grandopt.compiler.backends.native.check import check
from grandopt.compiler.backends.native.form import Graph, Linear, Map, Value
from grandopt.compiler.backends.native.layout import lay_out
from grandopt.compiler.backends.native.memory import padded_bytes, plan
from grandopt.compiler.backends.native.passes.pipeline import simplify
from grandopt.compiler.backends.native.strides import collapse, reshaped, row_major
from grandopt.compiler.backends.native.translate import translate
from grandopt.errors import PassError
from tests.native.networks import Attention, draw


def _graph(module: nn.Module, *example: torch.Tensor) -> Graph:
    batch = torch.export.Dim("batch")
    dynamic = tuple({0: batch} for _ in example)
    return translate("small", torch.export.export(module.eval(), example, dynamic_shapes=dynamic))


def _kinds(graph: Graph) -> list[str]:
    return [type(op).__name__ for op in graph.ops]


def test_scales_norms_and_chained_products_become_one_product() -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(8)
    nn.init.normal_(norm.weight)
    nn.init.uniform_(norm.running_var, 0.5, 2)  # type: ignore[arg-type]
    module = nn.Sequential(nn.Linear(6, 8), norm, nn.Dropout(), nn.Identity(), nn.Linear(8, 5))
    graph = simplify(_graph(module, torch.zeros(2, 6)))
    (linear,) = graph.ops
    assert isinstance(linear, Linear)
    weight, bias = linear.weight.constant, linear.bias.constant
    x = np.random.default_rng(0).standard_normal((4, 6))
    exact = module.double()(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(x @ weight.T + bias, exact, atol=1e-6)


class Joined(nn.Module):
    """Products of different inputs side by side, then one product of them all."""

    def __init__(self, narrow: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(4, narrow)
        self.join = nn.Linear(8 + narrow + 3, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = (self.first(x[..., :6]), self.second(x[..., 3:7]), x[..., 6:].tanh())
        return self.join(torch.cat(parts, dim=-1))


def test_products_ahead_of_a_concatenation_fold_into_the_product_behind_it() -> None:
    torch.manual_seed(0)
    module = Joined(7)
    graph = simplify(_graph(module, torch.zeros(2, 9)))
    assert sorted(_kinds(graph)) == ["Concat", "Linear", "Map", "Slice", "Slice", "Slice"]
    linear = next(op for op in graph.ops if isinstance(op, Linear))
    weight, bias = linear.weight.constant, linear.bias.constant
    x = np.random.default_rng(0).standard_normal((4, 9))
    exact = module.double()(torch.from_numpy(x)).detach().numpy()
    joined = np.concatenate([x[:, :6], x[:, 3:7], np.tanh(x[:, 6:])], axis=1)
    np.testing.assert_allclose(joined @ weight.T + bias, exact, atol=1e-6)


def test_a_product_that_narrows_stays_ahead_of_a_concatenation() -> None:
    graph = simplify(_graph(Joined(1), torch.zeros(2, 9)))
    assert _kinds(graph).count("Linear") == 2  # 4 → 1 is less work than four more columns


def test_a_large_shift_is_not_folded_because_it_would_cancel() -> None:
    class Shifted(nn.Module):
        def __init__(self, mean: float) -> None:
            super().__init__()
            self.mean, self.layer = mean, nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x - self.mean)

    assert _kinds(simplify(_graph(Shifted(0.5), torch.zeros(2, 3)))) == ["Linear"]
    assert _kinds(simplify(_graph(Shifted(1e6), torch.zeros(2, 3)))) == ["Map", "Linear"]


def test_equal_work_is_done_once_and_unused_work_never() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.unused = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.unused(x)
            return torch.cat([self.layer(x).relu(), self.layer(x).tanh()], dim=1)

    graph = simplify(_graph(Twice(), torch.zeros(2, 4)))
    assert sum(isinstance(op, Linear) for op in graph.ops) == 1


def test_a_chain_of_functions_is_one_loop() -> None:
    class Chain(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (F.mish(x) * 2 + F.softplus(x, beta=2)).clamp(-1, 1) / (1 + x.abs())

    assert _kinds(simplify(_graph(Chain(), torch.zeros(2, 4)))) == ["Map"]


def test_a_concatenation_and_the_outputs_are_written_in_place() -> None:
    class Joined(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.last = nn.Linear(4, 8), nn.Linear(4, 24), nn.Linear(32, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(torch.cat([self.first(x).relu(), self.second(x).tanh()], 1)).view(-1, 2, 3)

    layout = lay_out(simplify(_graph(Joined(), torch.zeros(2, 4))))
    assert [type(step.op).__name__ for step in layout.steps] == ["Linear"] * 3
    assert layout.steps[-1].outputs[0].buffer.kind == "output"


def test_heads_are_written_where_what_reads_them_together_wants_them() -> None:
    layout = lay_out(simplify(_graph(Attention(8, 2, causal=False), torch.zeros(2, 3, 8))))
    assert [type(step.op).__name__ for step in layout.steps] == ["Linear", "Attention", "Linear"]


@pytest.mark.parametrize("seed", range(12))
def test_buffers_that_live_at_once_share_no_byte(seed: int) -> None:
    network, shape = draw(seed)
    with torch.no_grad():
        layout = lay_out(simplify(_graph(network, torch.zeros(2, *shape))))
    arena = plan(layout.steps)
    lives: dict[object, list[int]] = {}
    for position, step in enumerate(layout.steps):
        for place in step.places:
            if place.buffer.kind == "scratch":
                lives.setdefault(place.buffer, []).append(position)
    spans = [
        (min(p), max(p), arena.offsets[b], arena.offsets[b] + padded_bytes(b))  # type: ignore[index,arg-type]
        for b, p in lives.items()
    ]
    for number, (first, last, start, end) in enumerate(spans):
        assert end <= arena.size
        for other_first, other_last, other_start, other_end in spans[:number]:
            if first <= other_last and other_first <= last:
                assert end <= other_start or other_end <= start


def test_the_check_names_what_is_wrong() -> None:
    build = Builder()
    x = build.value((1, 4), "float32")
    y = build.map("relu", x)
    good = Graph("g", (x,), (y,), tuple(build.ops))
    assert check(good, "building") is good
    with pytest.raises(PassError, match=r"after nothing, op 0 .* reads v1 before it is computed"):
        check(Graph("g", (), (y,), tuple(build.ops)), "nothing")
    wrong = Map((x,), (Value("w", (1, 5), "float32"),), good.ops[0].expression)  # type: ignore[attr-defined]
    with pytest.raises(PassError, match=r"shape \[1, 5\] where \[1, 4\] follows"):
        check(Graph("g", (x,), (wrong.output,), (wrong,)), "widening")
    with pytest.raises(PassError, match="which already has a value"):
        check(Graph("g", (x,), (y,), (*build.ops, *build.ops)), "copying")
    with pytest.raises(PassError, match="output w is never computed"):
        check(Graph("g", (x,), (wrong.output,), tuple(build.ops)), "forgetting")


def test_the_check_names_an_operand_that_is_missing_or_no_constant() -> None:
    x, y, moving = (Value(name, (1, 4), "float32") for name in ("x", "y", "moving"))
    weight, bias = (Value(n, s, "float32", np.ones(s, np.float32)) for n, s in (("w", (4, 4)), ("b", (4,))))
    assert check(Graph("g", (x,), (y,), (Linear((x, weight, bias), (y,)),)), "nothing")
    lacking = Linear((x, weight), (y,))
    with pytest.raises(PassError, match=r"after losing, op 0 \(Linear y\): it lacks its bias"):
        check(Graph("g", (x,), (y,), (lacking,)), "losing")
    with pytest.raises(PassError, match="Linear y lacks its operand 'bias'"):
        lacking.bias  # noqa: B018
    with pytest.raises(PassError, match="its weight moving is computed"):
        check(Graph("g", (x, moving), (y,), (Linear((x, moving, bias), (y,)),)), "moving")
    with pytest.raises(PassError, match="moving is computed where only a constant can be"):
        Linear((x, moving, bias), (y,)).weight.constant  # noqa: B018


def test_strides_follow_numpy() -> None:
    random = np.random.default_rng(3)
    shapes = [(2, 3, 4), (6, 4), (24,), (2, 12), (1, 24, 1), (4, 3, 2), (3, 8), (2, 3, 2, 2)]
    for _ in range(300):
        source = np.arange(24).reshape(shapes[random.integers(len(shapes))])
        view = source.transpose(random.permutation(source.ndim))
        target = shapes[random.integers(len(shapes))]
        strides = reshaped(view.shape, tuple(s // 8 for s in view.strides), target)
        wanted = view.reshape(target)
        if strides is None:
            assert not np.shares_memory(wanted, source)
        else:
            got = np.lib.stride_tricks.as_strided(source, target, [8 * s for s in strides])
            np.testing.assert_array_equal(got, wanted)
    assert row_major((2, 3, 4)) == (12, 4, 1)
    assert collapse((2, 3, 4), [(12, 4, 1), (0, 4, 1)]) == ([2, 12], [[12, 1], [0, 1]])
    assert collapse((1, 3, 4), [(99, 4, 1)]) == ([12], [[1]])
