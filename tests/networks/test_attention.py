"""Attention from plain layers against torch's own, with the same weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from grandopt.compiler.networks.attention import AttentionPooling, SelfAttention, recent_steps
from grandopt.compiler.networks.structure_embedder import TransformerLayer


def copy_attention(source: SelfAttention, target: nn.MultiheadAttention) -> None:
    target.in_proj_weight.data.copy_(source.project.weight)
    target.in_proj_bias.data.copy_(source.project.bias)
    target.out_proj.load_state_dict(source.merge.state_dict())


@pytest.mark.parametrize("window", [None, 1, 4, 12])
@torch.no_grad()
def test_self_attention_is_multi_head_attention(window: int | None) -> None:
    torch.manual_seed(0)
    ours = SelfAttention(32, heads=4, window=window, steps=12).eval()
    theirs = nn.MultiheadAttention(32, 4, batch_first=True).eval()
    copy_attention(ours, theirs)
    tokens = torch.randn(3, 12, 32)
    hidden = None if window is None else ~recent_steps(12, window)
    expected, _ = theirs(tokens, tokens, tokens, attn_mask=hidden, need_weights=False)
    torch.testing.assert_close(ours(tokens), expected, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_a_window_shows_only_the_recent_past() -> None:
    torch.manual_seed(0)
    attention = SelfAttention(16, heads=2, window=3, steps=8).eval()
    tokens = torch.randn(1, 8, 16)
    changed = tokens.clone()
    changed[0, 2] += 1.0
    moved = (attention(changed) - attention(tokens)).abs().sum(-1)[0] > 1e-6
    assert moved.tolist() == [False, False, True, True, True, False, False, False]


@torch.no_grad()
def test_a_transformer_layer_is_the_one_of_the_paper() -> None:
    torch.manual_seed(0)
    ours = TransformerLayer(32, heads=4, hidden=64).eval()
    theirs = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True).eval()
    copy_attention(ours.attention, theirs.self_attn)
    theirs.linear1.load_state_dict(ours.feed_forward[0].state_dict())
    theirs.linear2.load_state_dict(ours.feed_forward[2].state_dict())
    theirs.norm1.load_state_dict(ours.attention_norm.state_dict())
    theirs.norm2.load_state_dict(ours.feed_forward_norm.state_dict())
    tokens = torch.randn(3, 12, 32)
    torch.testing.assert_close(ours(tokens), theirs(tokens), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_pooling_is_a_weighted_mean() -> None:
    torch.manual_seed(0)
    pool = AttentionPooling(8, 4).eval()
    same = torch.randn(2, 1, 8).expand(2, 5, 8)
    torch.testing.assert_close(pool(same), same[:, 0])
    tokens = torch.randn(2, 5, 8)
    assert (pool(tokens) <= tokens.amax(1) + 1e-6).all()
    assert (pool(tokens) >= tokens.amin(1) - 1e-6).all()
