"""Attention and rotary positions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from grandopt.compiler.checkpoints.onnx.call import Call, Result, operator
from grandopt.compiler.checkpoints.onnx.tensors import KINDS


@dataclass(frozen=True)
class _Heads:
    """Queries, keys and values, [B, heads, length, width]."""

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    joined: bool


def _heads(call: Call) -> _Heads:
    q, k, v = (call.tensor(place) for place in range(3))
    joined = q.dim() == 3
    if joined:
        queries, keys = call.attribute("q_num_heads", 0), call.attribute("kv_num_heads", 0)
        if queries < 1 or keys < 1:
            call.refuse("takes joined heads but does not say how many")
        q, k, v = (
            part.reshape(part.shape[0], part.shape[1], count, part.shape[2] // count).transpose(1, 2)
            for part, count in ((q, queries), (k, keys), (v, keys))
        )
    return _Heads(q, k, v, joined)


@operator("Attention")
def attention(call: Call) -> Result:
    """softmax(scale Q K^T + mask) V over heads, which may share keys, with what came before in front."""
    heads = _heads(call)
    q, k, v = heads.q, heads.k, heads.v
    past = 0
    if call.has(4) and call.has(5):
        past = call.tensor(4).shape[2]
        k, v = torch.cat([call.tensor(4), k], 2), torch.cat([call.tensor(5), v], 2)
    if call.has(6):
        call.refuse("takes lengths without padding")
    present = (k, v)
    groups = q.shape[1] // k.shape[1]
    if groups > 1:
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    root = math.sqrt(call.attribute("scale", 1.0 / math.sqrt(q.shape[-1])))
    stages = _weights(call, (q * root) @ (k * root).transpose(-1, -2), past)
    result = stages[-1] @ v
    if heads.joined:
        batch, count, length, width = result.shape
        result = result.transpose(1, 2).reshape(batch, length, count * width)
    mode = call.attribute("qk_matmul_output_mode", 0)
    if not 0 <= mode < len(stages):
        call.refuse(f"qk_matmul_output_mode {mode}")
    return (result, *present, stages[mode])[: len(call.node.outputs)]


def _weights(call: Call, scores: torch.Tensor, past: int) -> list[torch.Tensor]:
    """The scores, then with a soft cap, then with the mask, then as weights that sum to one, or to zero where
    everything is masked."""
    softcap = call.attribute("softcap", 0.0)
    capped = softcap * torch.tanh(scores / softcap) if softcap else scores
    mask = _mask(call, scores, past)
    masked = capped if mask is None else capped + mask
    kind = call.attribute("softmax_precision", 0)
    if kind and kind not in KINDS:
        call.refuse(f"softmax_precision {kind}")
    weights = torch.softmax(masked.to(KINDS[kind]) if kind else masked, -1).to(scores.dtype)
    if mask is not None and call.has(3):
        nothing = torch.amax(mask, -1, keepdim=True) == float("-inf")
        weights = torch.where(nothing, torch.zeros_like(weights), weights)
    return [scores, capped, masked, weights]


def _mask(call: Call, scores: torch.Tensor, past: int) -> torch.Tensor | None:
    """What is added to the scores: minus infinity where a flag is not set or the future lies."""
    queries, keys = scores.shape[-2:]
    mask = None
    if call.has(3):
        mask = call.tensor(3)
        if mask.dtype == torch.bool:
            mask = torch.where(mask, 0.0, float("-inf")).to(scores.dtype)
        if mask.shape[-1] != keys:
            mask = torch.nn.functional.pad(mask, (0, keys - mask.shape[-1]), value=float("-inf"))
    if call.attribute("is_causal", 0):
        future = torch.full((queries, keys), float("-inf"), dtype=scores.dtype).triu(past + 1)
        mask = future if mask is None else mask + future
    return mask


@operator("RotaryEmbedding")
def rotary(call: Call) -> Result:
    """Pairs of numbers turned by the angles of their positions."""
    value, cosines, sines = (call.tensor(place) for place in range(3))
    joined = value.dim() == 3
    if joined:
        count = call.attribute("num_heads", 0)
        if count < 1:
            call.refuse("takes joined heads but does not say how many")
        batch, length, width = value.shape
        value = value.reshape(batch, length, count, width // count)
    else:
        value = value.transpose(1, 2)
    wide = call.attribute("rotary_embedding_dim", 0) or value.shape[-1]
    turned, rest = value[..., :wide], value[..., wide:]
    if call.has(3):
        cosines, sines = cosines[call.tensor(3)], sines[call.tensor(3)]
    cosines, sines = (part[..., : wide // 2].unsqueeze(2) for part in (cosines, sines))
    if call.attribute("interleaved", 0):
        real, imaginary = turned[..., 0::2], turned[..., 1::2]
    else:
        real, imaginary = turned.chunk(2, -1)
    one, other = cosines * real - sines * imaginary, sines * real + cosines * imaginary
    if call.attribute("interleaved", 0):
        turned = torch.stack([one, other], -1).flatten(-2)
    else:
        turned = torch.cat([one, other], -1)
    result = torch.cat([turned, rest], -1)
    return result.flatten(2) if joined else result.transpose(1, 2)
