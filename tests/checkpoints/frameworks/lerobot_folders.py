"""An ACT of LeRobot, written here to its layout, and what it computes in torch's own modules."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

SIZE, HEADS, INNER, CHUNK, LATENT, ACTIONS = 16, 2, 24, 5, 4, 3
VECTORS = {"observation.state": ("STATE", 6), "observation.environment_state": ("ENV", 4)}
MODES = {"STATE": "MEAN_STD", "ENV": "MIN_MAX", "ACTION": "MEAN_STD", "VISUAL": "MEAN_STD"}
PROJECTIONS = {"STATE": "encoder_robot_state_input_proj", "ENV": "encoder_env_state_input_proj"}


def config(*, pre_norm: bool = False, images: tuple[int, ...] | None = None, **more: Any) -> dict[str, Any]:
    """What config.json says; `images` is the shape of a camera's."""
    inputs = {name: {"type": kind, "shape": [size]} for name, (kind, size) in VECTORS.items()}
    if images is not None:
        inputs["observation.images.top"] = {"type": "VISUAL", "shape": list(images)}
    return {
        "type": "act", "n_obs_steps": 1, "input_features": inputs,
        "output_features": {"action": {"type": "ACTION", "shape": [ACTIONS]}}, "device": "cuda",
        "normalization_mapping": MODES, "chunk_size": CHUNK, "n_action_steps": CHUNK, "pre_norm": pre_norm,
        "vision_backbone": "resnet18", "dim_model": SIZE, "n_heads": HEADS, "dim_feedforward": INNER,
        "n_encoder_layers": 2, "n_decoder_layers": 1, "latent_dim": LATENT, "use_vae": True,
        "feedforward_activation": "relu", "replace_final_stride_with_dilation": False, **more,
    }  # fmt: skip


class Layer(nn.Module):
    """The modules of a layer; a decoder's has a second attention."""

    def __init__(self, *, decodes: bool) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(SIZE, HEADS, batch_first=True)
        self.linear1, self.linear2 = nn.Linear(SIZE, INNER), nn.Linear(INNER, SIZE)
        self.norm1, self.norm2 = nn.LayerNorm(SIZE), nn.LayerNorm(SIZE)
        if decodes:
            self.multihead_attn = nn.MultiheadAttention(SIZE, HEADS, batch_first=True)
            self.norm3 = nn.LayerNorm(SIZE)


class Reference(nn.Module):
    """An ACT without cameras, its attention by torch's own module."""

    def __init__(self, *, pre_norm: bool) -> None:
        super().__init__()
        self.pre_norm = pre_norm
        for kind, size in VECTORS.values():
            setattr(self, PROJECTIONS[kind], nn.Linear(size, SIZE))
        self.encoder_latent_input_proj = nn.Linear(LATENT, SIZE)
        self.encoder_1d_feature_pos_embed = nn.Embedding(3, SIZE)
        self.encoder, self.decoder = nn.Module(), nn.Module()
        self.encoder.layers = nn.ModuleList(Layer(decodes=False) for _ in range(2))
        self.encoder.norm = nn.LayerNorm(SIZE) if pre_norm else nn.Identity()
        self.decoder.layers = nn.ModuleList([Layer(decodes=True)])
        self.decoder.norm = nn.LayerNorm(SIZE)
        self.decoder_pos_embed = nn.Embedding(CHUNK, SIZE)
        self.action_head = nn.Linear(SIZE, ACTIONS)
        self.vae_encoder_cls_embed = nn.Embedding(1, SIZE)

    def forward(self, state: torch.Tensor, environment: torch.Tensor) -> torch.Tensor:
        """Normalised vectors to normalised actions [B, chunk, A]."""
        latent = torch.zeros(len(state), LATENT)
        tokens = [
            self.encoder_latent_input_proj(latent), self.encoder_robot_state_input_proj(state),
            self.encoder_env_state_input_proj(environment),
        ]  # fmt: skip
        value, places = torch.stack(tokens, dim=1), self.encoder_1d_feature_pos_embed.weight
        for layer in self.encoder.layers:
            value = self._part(
                value, layer.norm1, lambda v, at=layer.self_attn: at(v + places, v + places, v)[0]
            )
            value = self._part(value, layer.norm2, lambda v, of=layer: of.linear2(of.linear1(v).relu()))
        value = self.encoder.norm(value)
        return self.action_head(self._decoded(value, places))

    def _decoded(self, seen: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        queries = self.decoder_pos_embed.weight
        (layer,) = self.decoder.layers
        value = torch.zeros(len(seen), CHUNK, SIZE)
        value = self._part(value, layer.norm1, lambda v: layer.self_attn(v + queries, v + queries, v)[0])
        value = self._part(
            value, layer.norm2, lambda v: layer.multihead_attn(v + queries, seen + places, seen)[0]
        )
        value = self._part(value, layer.norm3, lambda v: layer.linear2(layer.linear1(v).relu()))
        found: torch.Tensor = self.decoder.norm(value)
        return found

    def _part(self, value: torch.Tensor, norm: nn.Module, inner: Any) -> torch.Tensor:
        found: torch.Tensor = value + inner(norm(value)) if self.pre_norm else norm(value + inner(value))
        return found


def reference(*, pre_norm: bool = False) -> Reference:
    """One with seeded weights, biases and norms too."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = Reference(pre_norm=pre_norm).eval()
        for name, parameter in made.named_parameters():
            if parameter.dim() == 1:
                nn.init.normal_(parameter, mean=1.0 if "norm" in name and "weight" in name else 0.0, std=0.2)
    return made


def statistics() -> dict[str, torch.Tensor]:
    """Seeded statistics of every feature."""
    generator = torch.Generator().manual_seed(3)
    found = {}
    for name, size in (*((name, size) for name, (_, size) in VECTORS.items()), ("action", ACTIONS)):
        found[f"{name}.mean"] = torch.randn(size, generator=generator)
        found[f"{name}.std"] = 0.1 + torch.rand(size, generator=generator)
        found[f"{name}.min"] = found[f"{name}.mean"] - 1
        found[f"{name}.max"] = found[f"{name}.mean"] + 2
    return found


def processors(modes: Mapping[str, str] = MODES, rename: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The documents of both processors, by name."""
    norm = {"eps": 1e-8, "features": {}, "norm_map": dict(modes)}
    return {
        "policy_preprocessor": {"name": "policy_preprocessor", "steps": [
            {"registry_name": "rename_observations_processor", "config": {"rename_map": dict(rename or {})}},
            {"registry_name": "to_batch_processor", "config": {}},
            {"registry_name": "device_processor", "config": {"device": "cuda", "float_dtype": None}},
            {"registry_name": "normalizer_processor", "config": norm, "state_file": "before.safetensors"},
        ]},
        "policy_postprocessor": {"name": "policy_postprocessor", "steps": [
            {"registry_name": "unnormalizer_processor", "config": norm, "state_file": "behind.safetensors"},
            {"registry_name": "device_processor", "config": {"device": "cpu", "float_dtype": None}},
        ]},
    }  # fmt: skip


def weights(made: nn.Module) -> dict[str, torch.Tensor]:
    """The tensors of a model as LeRobot names them."""
    return {f"model.{name}": tensor.clone() for name, tensor in made.state_dict().items()}


def written(folder: Path, made: nn.Module, settings: Any = None, documents: Any = None) -> Path:
    """The folder of a policy with processors."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {"config": settings or config(), **(documents or processors())}
    for name, document in found.items():
        (folder / f"{name}.json").write_text(json.dumps(document))
    save_file(weights(made), folder / "model.safetensors")
    save_file(statistics(), folder / "before.safetensors")
    save_file(statistics(), folder / "behind.safetensors")
    return folder


def of_old(folder: Path, made: nn.Module) -> Path:
    """The folder of a policy whose statistics are buffers among its weights."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config()))
    tensors = weights(made)
    for key, tensor in statistics().items():
        feature, _, name = key.rpartition(".")
        buffer = f"buffer_{feature.replace('.', '_')}.{name}"
        parts = ["unnormalize_outputs", "normalize_targets"] if feature == "action" else ["normalize_inputs"]
        kept = ("min", "max") if feature.endswith("environment_state") else ("mean", "std")
        tensors |= {f"{part}.{buffer}": tensor.clone() for part in parts if name in kept}
    save_file(tensors, folder / "model.safetensors")
    return folder


def positions(height: int, width: int, size: int) -> torch.Tensor:
    """The places of a feature map [height * width, size], one number at a time."""
    rows = []
    for row in range(1, height + 1):
        for column in range(1, width + 1):
            numbers = []
            for place, count in ((row, height), (column, width)):
                angle = place / (count + 1e-6) * 2 * math.pi
                for index in range(size // 2):
                    turned = angle / 10_000 ** (2 * (index // 2) / (size // 2))
                    numbers.append(math.cos(turned) if index % 2 else math.sin(turned))
            rows.append(numbers)
    return torch.tensor(rows)
