"""Folders of LeRobot's ACT, and the chunks that it gives with its own processors.

Called as `lerobot_0_4.py FOLDER` where LeRobot is; of each NAME there is NAME.npz with the observations by
their names, and `action`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

import stand_ins

stand_ins.install(
    *("datasets", "av", "torchcodec", "diffusers", "accelerate", "cv2", "jsonlines", "pynput", "serial"),
    *("wandb", "rerun", "gymnasium", "deepdiff", "imageio", "pandas", "pyarrow", "transformers"),
    first=("torchvision._meta_registrations",),  # which looks for operators that were built for another torch
)

import av.logging  # noqa: E402, F401
import numpy as np  # noqa: E402
import torch  # noqa: E402
from lerobot.configs.types import FeatureType, NormalizationMode, PolicyFeature  # noqa: E402
from lerobot.policies.act.configuration_act import ACTConfig  # noqa: E402
from lerobot.policies.act.modeling_act import ACTPolicy  # noqa: E402
from lerobot.policies.act.processor_act import make_act_pre_post_processors  # noqa: E402

STATE, ENVIRONMENT = "observation.state", "observation.environment_state"
CAMERAS = ("observation.images.top", "observation.images.wrist")
ACTIONS, CHUNK = 4, 7
MEAN_STD, MIN_MAX = NormalizationMode.MEAN_STD, NormalizationMode.MIN_MAX

AGENTS: dict[str, dict[str, Any]] = {
    "vectors": {},
    "pre_norm": {"pre_norm": True, "feedforward_activation": "gelu", "n_decoder_layers": 2},
    "ranges": {"normalization_mapping": {"STATE": MIN_MAX, "ENV": MEAN_STD, "ACTION": MIN_MAX}},
    "cameras": {},
}
MODES = {"VISUAL": MEAN_STD, "STATE": MEAN_STD, "ENV": MIN_MAX, "ACTION": MEAN_STD}


def features(name: str) -> dict[str, PolicyFeature]:
    """What the agent observes."""
    found = {
        STATE: PolicyFeature(FeatureType.STATE, (6,)), ENVIRONMENT: PolicyFeature(FeatureType.ENV, (5,)),
    }  # fmt: skip
    if name == "cameras":
        found |= {camera: PolicyFeature(FeatureType.VISUAL, (3, 64, 96)) for camera in CAMERAS}
    return found


def statistics(observed: dict[str, PolicyFeature]) -> dict[str, dict[str, torch.Tensor]]:
    """Statistics of a data set: of a camera, one number for each channel."""
    found = {}
    for name, feature in {**observed, "action": PolicyFeature(FeatureType.ACTION, (ACTIONS,))}.items():
        shape = (3, 1, 1) if feature.type is FeatureType.VISUAL else feature.shape
        mean = torch.rand(shape)
        found[name] = {"mean": mean, "std": 0.2 + torch.rand(shape), "min": mean - 1, "max": mean + 2}
    return found


def disturbed(policy: ACTPolicy) -> None:
    """The statistics of the backbone away from 0 and 1, and no bias left at 0."""
    with torch.no_grad():
        for name, tensor in policy.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif name.endswith(("running_mean", "bias")):
                tensor.add_(torch.randn_like(tensor) * 0.1)


def write(folder: Path, name: str, settings: dict[str, Any]) -> None:
    """The folder of one agent, and what it does."""
    torch.manual_seed(0)
    observed = features(name)
    config = ACTConfig(
        input_features=observed,
        output_features={"action": PolicyFeature(FeatureType.ACTION, (ACTIONS,))},
        device="cpu",
        pretrained_backbone_weights=None,
        **{"chunk_size": CHUNK, "n_action_steps": CHUNK, "dim_model": 32, "n_heads": 4, "latent_dim": 8},
        **{"dim_feedforward": 48, "n_encoder_layers": 2, "n_vae_encoder_layers": 1},
        **{"normalization_mapping": MODES, **settings},
    )
    policy = ACTPolicy(config).eval()
    disturbed(policy)
    before, behind = make_act_pre_post_processors(config, statistics(observed))
    for part in (policy, before, behind):
        part.save_pretrained(folder / name)
    count = 6 if name == "cameras" else 1000
    seen = {key: torch.rand(count, *feature.shape) for key, feature in observed.items()}
    with torch.no_grad():
        chunk = policy.predict_action_chunk(before(dict(seen)))
    action = torch.stack([behind(step) for step in chunk.unbind(1)], dim=1)
    arrays = {key: value.numpy() for key, value in seen.items()}
    np.savez(folder / f"{name}.npz", action=action.numpy(), **arrays)


def main(folder: Path) -> None:
    for name, settings in AGENTS.items():
        write(folder, name, settings)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
