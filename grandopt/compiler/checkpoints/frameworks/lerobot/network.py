"""The network of an ACT (Zhao et al., 2023, "Learning Fine-Grained Bimanual Manipulation"), as it is called.

Its modules have the names of LeRobot's, so that its weights load by them; the batch is first throughout. The
encoder of the variational autoencoder is for training only: at a call the latent is zero, and what is left of
its projection is the bias.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from grandopt.compiler.checkpoints.frameworks.lerobot import resnet
from grandopt.compiler.checkpoints.frameworks.lerobot.config import ActConfig

TEMPERATURE = 10_000
POSITION_EPSILON = 1e-6
"""Of the sinusoidal embedding of the places in an image."""

UNUSED = ("vae_encoder", "encoder_latent_input_proj.weight")
"""What the names of weights begin with that only training needs."""


class Act(nn.Module):
    """Normalised observations to a chunk of normalised actions."""

    places: torch.Tensor

    def __init__(self, config: ActConfig) -> None:
        super().__init__()
        size = config.sizes["dim_model"]
        self.kinds = tuple(feature.kind for feature in config.observed)
        vectors = [feature for feature in config.observed if feature.kind != "VISUAL"]
        for feature in vectors:
            setattr(self, _projection(feature.kind), nn.Linear(feature.shape[0], size))
        self.encoder_latent_input_proj = Bias(size)
        self.encoder_1d_feature_pos_embed = nn.Embedding(1 + len(vectors), size)
        if config.images:
            self.backbone = resnet.Backbone(config.backbone, config.images[0].shape[0])
            self.encoder_img_feat_input_proj = nn.Conv2d(resnet.CHANNELS[-1], size, 1)
        self.encoder = Stack(EncoderLayer, config, config.sizes["n_encoder_layers"], normed=config.pre_norm)
        self.decoder = Stack(DecoderLayer, config, config.sizes["n_decoder_layers"], normed=True)
        self.decoder_pos_embed = nn.Embedding(config.sizes["chunk_size"], size)
        self.action_head = nn.Linear(size, config.action.shape[0])
        self.register_buffer("places", torch.empty(0), persistent=False)

    def place_images(self, config: ActConfig) -> None:
        """Compute the embedding of the places in the feature maps of all cameras: it follows from sizes."""
        size = config.sizes["dim_model"]
        maps = [torch.zeros(0, size)]
        for image in config.images:
            height, width = (-(-side // resnet.STRIDE) for side in image.shape[1:])
            maps.append(positions(height, width, size))
        self.places = torch.cat(maps)

    def forward(self, *observed: torch.Tensor) -> torch.Tensor:
        """Vectors [B, n] and images [B, C, H, W] in the configuration's order to actions [B, chunk, A]."""
        batch = observed[0].shape[0]
        tokens = [self.encoder_latent_input_proj.bias.expand(batch, 1, -1)]
        for kind, value in zip(self.kinds, observed, strict=True):
            if kind == "VISUAL":
                features = self.encoder_img_feat_input_proj(self.backbone(value))
                tokens.append(features.flatten(2).transpose(1, 2))
            else:
                tokens.append(self.get_submodule(_projection(kind))(value).unsqueeze(1))
        places = torch.cat([self.encoder_1d_feature_pos_embed.weight, self.places])
        encoded = torch.cat(tokens, dim=1)
        for layer in self.encoder.layers:
            encoded = layer(encoded, places)
        encoded = self.encoder.norm(encoded)
        queries = self.decoder_pos_embed.weight
        value = torch.zeros_like(queries).unsqueeze(0)  # one for all: no observation has a part in it yet
        for layer in self.decoder.layers:
            value = layer(value, queries, encoded, places)
        return self.action_head(self.decoder.norm(value))


class Bias(nn.Module):
    """What a linear layer gives for zeros."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.empty(size))


class Stack(nn.Module):
    """Layers one behind the other, and the normalisation behind the last."""

    def __init__(self, kind: type[nn.Module], config: ActConfig, count: int, *, normed: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(kind(config) for _ in range(count))
        self.norm: nn.Module = nn.LayerNorm(config.sizes["dim_model"]) if normed else nn.Identity()


class Attention(nn.Module):
    """Attention of several heads, its weights laid out as in torch's MultiheadAttention."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * size, size))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * size))
        self.out_proj = nn.Linear(size, size)

    def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Queries [B, m, D], or [1, m, D] for all, keys and values [B, n, D] to [B, m, D]."""
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        split = [
            nn.functional.linear(given, weight, bias).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for given, weight, bias in zip((query, key, value), weights, biases, strict=True)
        ]
        asked = split[0].expand(value.shape[0], -1, -1, -1)
        mixed = nn.functional.scaled_dot_product_attention(asked, split[1], split[2])
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """What both kinds of layers have: two linear layers, and whether norms stand before or behind a part."""

    def __init__(self, config: ActConfig) -> None:
        super().__init__()
        size, inner = config.sizes["dim_model"], config.sizes["dim_feedforward"]
        self.self_attn = Attention(size, config.sizes["n_heads"])
        self.linear1 = nn.Linear(size, inner)
        self.linear2 = nn.Linear(inner, size)
        self.norm1 = nn.LayerNorm(size)
        self.norm2 = nn.LayerNorm(size)
        self.pre_norm = config.pre_norm
        self.activation = nn.ReLU() if config.activation == "relu" else nn.GELU()

    def fed(self, value: torch.Tensor) -> torch.Tensor:
        """The two linear layers."""
        return self.linear2(self.activation(self.linear1(value)))


class EncoderLayer(FeedForward):
    """Each token looks at all of them."""

    def forward(self, value: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Tokens [B, n, D] and their places [n, D] to tokens."""
        if self.pre_norm:
            inner = self.norm1(value)
            value = value + self.self_attn(inner + places, inner + places, inner)
            return value + self.fed(self.norm2(value))
        value = self.norm1(value + self.self_attn(value + places, value + places, value))
        return self.norm2(value + self.fed(value))


class DecoderLayer(FeedForward):
    """Each action of the chunk looks at the others, then at the tokens of the encoder."""

    def __init__(self, config: ActConfig) -> None:
        super().__init__(config)
        self.multihead_attn = Attention(config.sizes["dim_model"], config.sizes["n_heads"])
        self.norm3 = nn.LayerNorm(config.sizes["dim_model"])

    def forward(
        self, value: torch.Tensor, queries: torch.Tensor, encoded: torch.Tensor, places: torch.Tensor
    ) -> torch.Tensor:
        """Actions [B or 1, chunk, D], their places, tokens [B, n, D] and theirs to actions [B, chunk, D]."""
        if self.pre_norm:
            inner = self.norm1(value)
            value = value + self.self_attn(inner + queries, inner + queries, inner)
            inner = self.norm2(value)
            value = value + self.multihead_attn(inner + queries, encoded + places, encoded)
            return value + self.fed(self.norm3(value))
        value = self.norm1(value + self.self_attn(value + queries, value + queries, value))
        value = self.norm2(value + self.multihead_attn(value + queries, encoded + places, encoded))
        return self.norm3(value + self.fed(value))


def positions(height: int, width: int, size: int) -> torch.Tensor:
    """The embedding of the places of a feature map, [height * width, size] in float32.

    Rows and columns, counted from 1 and scaled to 2 pi, each as sines and cosines of falling frequencies, as
    ACTSinusoidalPositionEmbedding2d computes them.
    """
    half = size // 2
    frequency = TEMPERATURE ** (2 * (torch.arange(half, dtype=torch.float32) // 2) / half)

    def waves(count: int) -> torch.Tensor:
        steps = torch.arange(1, count + 1, dtype=torch.float32)
        angles = (steps / (steps[-1] + POSITION_EPSILON) * (2 * math.pi)).unsqueeze(1) / frequency
        return torch.stack((angles[:, 0::2].sin(), angles[:, 1::2].cos()), dim=2).flatten(1)

    rows, columns = waves(height), waves(width)
    joined = torch.cat(
        (rows.unsqueeze(1).expand(-1, width, -1), columns.unsqueeze(0).expand(height, -1, -1)), dim=2
    )
    return joined.flatten(0, 1).contiguous()


def _projection(kind: str) -> str:
    """The name of the layer that makes a token of a vector."""
    return "encoder_robot_state_input_proj" if kind == "STATE" else "encoder_env_state_input_proj"
