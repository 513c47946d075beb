"""Attention as one op: how it is recognised, what it computes, and what it leaves out."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grandopt.compiler.backends.native.build import render
from grandopt.compiler.backends.native.form import Attention, Graph, Linear, MatMul, Softmax
from grandopt.compiler.backends.native.levels import LEVELS, IsaLevel, levels_for
from grandopt.compiler.backends.native.passes.observing import observing
from grandopt.compiler.backends.native.passes.quantize import quantize
from grandopt.compiler.backends.native.visible import visible
from tests.native.networks import Apply
from tests.native.programs import program, runner
from tests.native.test_level_programs import graph_of
from tests.native.test_pairs import FOUR, SIXTEEN
from tests.native.test_property import GENERIC, compare

BY_NAME = {level.name: level for level in LEVELS}
SINGLE = [BY_NAME[name] for name in ("x86-64-v4", "x86-64-v3", "armv8-a")] + [GENERIC]
PAIRED = [BY_NAME[name] for name in ("x86-64-v4-bf16", "armv8.2-a-bf16")] + [FOUR, SIXTEEN]
named = {"ids": lambda level: level.name}
Heads = Callable[[Tensor, Tensor, Tensor], Tensor]


def window(rows: int, keys: int, size: int) -> Tensor:
    """True where the key is one of the last `size` up to the row."""
    apart = torch.arange(rows)[:, None] - torch.arange(keys)
    return (apart >= 0) & (apart < size)


def by_hand(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    return (scores if mask is None else scores + mask).softmax(-1) @ v


def added(seen: Tensor, least: float = -math.inf) -> Tensor:
    return torch.zeros(seen.shape).masked_fill(~seen, least)


class Several(nn.Module):
    """Attention of many sizes, masks and strides over one input [B, 40, 70], drawn by a seed."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.draws = [self.draw(np.random.default_rng([seed, number])) for number in range(5)]

    @staticmethod
    def draw(random: np.random.Generator) -> Heads:
        rows, keys = (int(n) for n in random.integers(1, 41, 2))
        depth, columns = (int(n) for n in random.integers(1, 36, 2))
        heads, kind = int(random.integers(1, 3)), int(random.integers(6))
        seen = torch.from_numpy(random.random((rows, keys)) < 0.3) | (torch.arange(keys) == 0)
        near = window(rows, keys, int(random.integers(1, 9))) | (torch.arange(keys) == min(3, keys - 1))

        def attend(x: Tensor, turned: Tensor, other: Tensor) -> Tensor:
            q = x[:, :rows, : heads * depth].unflatten(-1, (heads, depth)).transpose(1, 2)
            source = turned if kind % 2 else other
            k = source[:, :keys, -heads * depth :].unflatten(-1, (heads, depth)).transpose(1, 2)
            v = other[:, :keys, :columns].unsqueeze(1)
            match kind:
                case 0:
                    return by_hand(q, k, v)
                case 1:
                    return F.scaled_dot_product_attention(q, k, v, is_causal=True)
                case 2:
                    return F.scaled_dot_product_attention(q, k, v, attn_mask=near)
                case 3:
                    return by_hand(q, k, v, added(seen, -1e9).to(q.dtype))
                case 4:
                    return F.scaled_dot_product_attention(q, k, v, attn_mask=x[:, :1, :keys].unsqueeze(1) > 0)
            return by_hand(q, k, v, x[:, None, :rows, :keys])

        return attend

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        return tuple(draw(x, y.transpose(1, 2), x * 0.7) for draw in self.draws)


def attentions(graph: Graph) -> list[Attention]:
    return [op for op in graph.ops if isinstance(op, Attention)]


def seeds(fast: int) -> list[object]:
    slow, stress = pytest.mark.slow, pytest.mark.stress
    more = [pytest.param(seed, marks=slow if seed == fast else stress) for seed in range(fast, 12)]
    return [*range(fast), *more]


@functools.cache
def several(seed: int) -> tuple[Several, Graph]:
    """The network and its graph, captured once for all levels."""
    network = Several(seed)
    return network, graph_of(network, (40, 70), (70, 40))


def fast(levels: list[IsaLevel], names: tuple[str, ...]) -> list[object]:
    """The levels, all but those named for the slow suite: each compiles for many seconds."""
    return [pytest.param(one, marks=() if one.name in names else pytest.mark.slow) for one in levels]


@pytest.mark.parametrize("level", fast(SINGLE, ("x86-64-v3",)), **named)
@pytest.mark.parametrize("seed", seeds(1))
def test_all_sizes_masks_and_strides_are_as_exact_as_torch(
    tmp_path: Path, level: IsaLevel, seed: int
) -> None:
    runner(level)
    network, graph = several(seed)
    random = np.random.default_rng(seed)
    x = random.standard_normal((5, 40, 70)).astype(np.float32)
    y = random.standard_normal((5, 70, 40)).astype(np.float32)
    got = program(graph, [level], tmp_path, tile=4)(x, y)
    single = nn.Module()
    single.forward = lambda both: network(both[..., 0], both[..., 1].transpose(1, 2))  # type: ignore[method-assign]
    both = np.stack([x, y.transpose(0, 2, 1)], -1)
    compare([got], single, [both])


@pytest.mark.parametrize("level", fast(PAIRED, ("x86-64-v4-bf16",)), **named)
@pytest.mark.parametrize("seed", seeds(1))
def test_pairs_are_off_by_what_rounding_explains(tmp_path: Path, level: IsaLevel, seed: int) -> None:
    runner(level)
    network, graph = several(seed)
    random = np.random.default_rng(seed)
    x = random.standard_normal((5, 40, 70)).astype(np.float32)
    y = random.standard_normal((5, 70, 40)).astype(np.float32)
    got = program(graph, [level], tmp_path, tile=4, precision="bfloat16")(x, y)
    wanted = network(torch.from_numpy(x).double(), torch.from_numpy(y).double())
    errors = [
        np.linalg.norm(mine - exact.numpy()) / np.linalg.norm(exact.numpy())
        for mine, exact in zip(got, wanted, strict=True)
    ]
    assert max(errors) < 1e-2
    assert max(errors) > 1e-4  # it was rounded


class Ways(nn.Module):
    """Self-attention, or attention to the first steps, in one of the ways it is written."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.heads = nn.MultiheadAttention(16, 2, batch_first=True)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.project = nn.Linear(16, 48)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.project(x).unflatten(-1, (3, 2, 8)).permute(2, 0, 3, 1, 4)
        causal = torch.ones(9, 9, dtype=torch.bool).tril()
        match self.way:
            case "functional":
                return F.scaled_dot_product_attention(q, k, v)
            case "three axes":
                return F.scaled_dot_product_attention(x, x * 2, x, is_causal=True)
            case "admitted":
                return F.scaled_dot_product_attention(q, k, v, attn_mask=x[:, None, None, :, 0] > 0)
            case "filled":
                return (q @ k.mT / 3).masked_fill(~causal, -math.inf).softmax(-1) @ v
            case "flat":
                a, b, c = (part.flatten(0, 1) for part in (q, k, v))
                scores = torch.bmm(a, b.mT).unflatten(0, (-1, 2)) * 0.3 + added(causal)
                return torch.bmm(scores.softmax(-1).flatten(0, 1), c).unflatten(0, (-1, 2))
            case "module":
                return self.heads(x, x, x)[0]
            case "across":
                return self.heads(x, x[:, :4], x[:, :4], need_weights=False)[0]
            case "layer":
                return self.layer(x)
        return by_hand(q, k, v).relu() + 1


WAYS = ("functional", "three axes", "admitted", "filled", "flat", "module", "across", "layer", "followed")


class All(nn.Module):
    """Every way."""

    def __init__(self) -> None:
        super().__init__()
        self.ways = nn.ModuleList(Ways(way) for way in WAYS)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([way(x).flatten(1) for way in self.ways], 1)


@pytest.mark.slow  # the next test sees the same in one graph of all
@pytest.mark.parametrize("way", WAYS)
def test_it_is_recognised_however_it_is_written(way: str) -> None:
    graph = graph_of(Ways(way), (9, 16))
    assert len(attentions(graph)) == 1
    assert not any(isinstance(op, (Softmax, MatMul)) for op in graph.ops)


def test_all_ways_are_recognised() -> None:
    graph = graph_of(All(), (9, 16))
    assert len(attentions(graph)) == len(WAYS)
    assert not any(isinstance(op, (Softmax, MatMul)) for op in graph.ops)


@pytest.mark.slow
def test_all_ways_compute_what_torch_does(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = All()
    x = np.random.default_rng(0).standard_normal((5, 9, 16)).astype(np.float32)
    compare([program(graph_of(network, (9, 16)), [GENERIC], tmp_path)(x)], network.eval(), [x])


@pytest.mark.parametrize(
    "network",
    [
        lambda x: (weights := (x @ x.mT).softmax(-1), weights @ x),  # the weights are asked for, too
        lambda x: (scores := x @ x.mT, scores.softmax(-1) @ x),
        lambda x: torch.log_softmax(x @ x.mT, -1) @ x,
        lambda x: (x @ x.mT).softmax(-2) @ x,
    ],
)
def test_what_is_no_attention_stays_as_it_is(network: Callable[[Tensor], Tensor]) -> None:
    graph = graph_of(Apply(network), (6, 8))
    assert not attentions(graph)
    assert sum(isinstance(op, MatMul) for op in graph.ops) == 2


def only(network: Callable[[Tensor], Tensor], rows: int = 20) -> Attention:
    (op,) = attentions(graph_of(Apply(network), (rows, 8)))
    return op


def test_what_a_mask_hides_is_known() -> None:
    seen = window(20, 20, 3)
    for least in (-math.inf, torch.finfo(torch.float32).min, -1e9):
        found = visible(only(lambda x: by_hand(x, x, x, added(seen, least))))  # noqa: B023
        assert found is not None
        np.testing.assert_array_equal(found.seen, seen.numpy())
    for mask in (seen, added(seen)):
        found = visible(only(lambda x: F.scaled_dot_product_attention(x, x, x, attn_mask=mask)))  # noqa: B023
        assert found is not None
        np.testing.assert_array_equal(found.seen, seen.numpy())
    filled = visible(only(lambda x: (x @ x.mT).masked_fill(~seen, -math.inf).softmax(-1) @ x))
    assert filled is not None
    np.testing.assert_array_equal(filled.seen, seen.numpy())


def test_nothing_is_taken_for_hidden_that_may_be_seen() -> None:
    seen = window(20, 20, 3)
    assert visible(only(lambda x: by_hand(x, x, x))) is None
    assert visible(only(lambda x: by_hand(x, x, x, added(seen, -50.0)))) is None
    assert visible(only(lambda x: by_hand(x, x, x, x[:, :, :1] * added(seen, -1e9)))) is None
    low = only(lambda x: F.threshold(x @ x.mT, 5, -math.inf).softmax(-1) @ x)
    assert visible(low) is None


class Three(nn.Module):
    """A function of query, keys and values [B, 30, 8] with one head."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return self.function(q.unsqueeze(1), k.unsqueeze(1), v.unsqueeze(1))


@functools.cache
def hiding() -> tuple[Tensor, Graph]:
    """A mask that admits near keys, and nothing for one row, and the graph of attention with it."""
    mask = added(window(30, 30, 4))
    mask[7] = -math.inf
    return mask, graph_of(Three(lambda q, k, v: by_hand(q, k, v, mask)), *[(30, 8)] * 3)


@pytest.mark.parametrize("level", [*SINGLE, FOUR], **named)
def test_what_is_hidden_is_left_out_unless_it_would_show(tmp_path: Path, level: IsaLevel) -> None:
    """A score that is NaN, or infinite, shows through a mask that is added; so does a value through 0."""
    runner(level)
    mask, graph = hiding()
    (text,) = render(graph, [level], 1, "bfloat16").texts.values()
    assert "static const int ends[][2]" in text
    given = np.random.default_rng(0).standard_normal((3, 9, 30, 8)).astype(np.float32)
    for number, wild in enumerate((np.nan, np.inf, -np.inf, 3e37)):
        given[1, number, 20, 3] = wild
        given[2, 4 + number, 20, 3] = wild
    (got,) = program(graph, [level], tmp_path, tile=1, precision="bfloat16")(*given)
    q, k, v = (torch.from_numpy(part).unsqueeze(1).double() for part in given)
    wanted = by_hand(q, k, v, mask.double())
    # In float32 3e37 is more than what the sum of products can hold, or not, with the other factors.
    for sample in (0, 1, 2, 4, 5, 6, 7, 8):
        np.testing.assert_array_equal(np.isnan(got[sample]), np.isnan(wanted[sample].numpy()))
    np.testing.assert_allclose(got[8], wanted[8].numpy(), rtol=0.05, atol=0.05)
    assert np.isnan(got[8, 0, 7]).all()


def test_a_row_that_admits_nothing_gives_zeros_where_torch_does(tmp_path: Path) -> None:
    mask = window(30, 30, 4)
    mask[10:25] = False  # a whole group of rows, too
    network = Three(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=mask))
    given = np.random.default_rng(0).standard_normal((3, 2, 30, 8)).astype(np.float32)
    (got,) = program(graph_of(network, *[(30, 8)] * 3), [GENERIC], tmp_path, tile=1)(*given)
    assert (got[:, 0, 10:25] == 0).all()
    np.testing.assert_allclose(got, network(*map(torch.from_numpy, given)).numpy(), atol=1e-5)


def test_raw_observations_are_not_rounded_and_what_is_brings_its_levels() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.project = nn.Linear(64, 64)

        def forward(self, x: Tensor) -> Tensor:
            y = self.project(x)
            return by_hand(x, x, x) + by_hand(y, y, y)

    graph = graph_of(Both(), (12, 64))
    exact = observing(graph)
    assert {type(op) for op in exact} == {Attention, Linear}
    raw, made = attentions(quantize(graph, exact - {op for op in exact if isinstance(op, Linear)}))
    assert (raw.rounded, made.rounded) in {(False, True), (True, False)}
    names = [level.name for level in levels_for("x86_64", weights="int8", paired=True)]
    assert "x86-64-v4-bf16" in names
    assert "x86-64-v4-bf16" not in [level.name for level in levels_for("x86_64", weights="int8")]
