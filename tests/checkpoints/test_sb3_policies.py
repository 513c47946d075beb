"""Kinds of policies that the real zips do not hold, against SB3's formulas written out with functions."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from grandopt.compiler.checkpoints import detect
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError
from tests.checkpoints import sb3_zips as zips
from tests.checkpoints.sb3_zips import OFF_POLICY, ON_POLICY, Weights

BATCH = 33
IMAGE = (3, 36, 40)
FLAT = 64  # 36 × 40 leaves 1 × 1 of 64 channels after the three convolutions
Tensors = dict[str, torch.Tensor]


def _load(path: Path, **settings: object) -> Checkpoint:
    return detect.load("agent", AgentConfig.model_validate({"checkpoint": path, **settings}))


def _affine(tensors: Tensors, name: str, x: torch.Tensor) -> torch.Tensor:
    return F.linear(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"])


def _nature(tensors: Tensors, prefix: str, image: torch.Tensor) -> torch.Tensor:
    for index, stride in ((0, 4), (2, 2), (4, 1)):
        name = f"{prefix}.cnn.{index}"
        image = F.conv2d(image, tensors[f"{name}.weight"], tensors[f"{name}.bias"], stride).relu()
    return _affine(tensors, f"{prefix}.linear.0", image.flatten(1)).relu()


def _images(seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (BATCH, *IMAGE), dtype=torch.uint8, generator=generator)


def _vectors(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn((BATCH, *shape), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("scaled", [True, False])
def test_images_go_through_the_nature_cnn_of_the_actor(tmp_path: Path, shared: bool, scaled: bool) -> None:
    made = Weights().nature_cnn("features_extractor", 3, FLAT, 32).layer("action_net", 4, 32)
    made.nature_cnn("vf_features_extractor", 3, FLAT, 32).layer("value_net", 1, 32)
    if not shared:
        made.nature_cnn("pi_features_extractor", 3, FLAT, 32)
    kwargs = {"share_features_extractor": str(shared), "normalize_images": scaled}
    policy = (ON_POLICY[0], "ActorCriticCnnPolicy")
    path = zips.write_zip(
        tmp_path / "a.zip", policy, zips.box(0, 255, IMAGE, "uint8"), zips.discrete(4), made.tensors, kwargs
    )
    checkpoint = _load(path)
    spec = checkpoint.inputs[0]
    assert (spec.shape, spec.dtype, spec.low, spec.high) == (IMAGE, "uint8", 0.0, 255.0)
    images = _images()
    prefix = "features_extractor" if shared else "pi_features_extractor"
    features = _nature(made.tensors, prefix, images.float() / (255 if scaled else 1))
    logits = _affine(made.tensors, "action_net", features)
    assert checkpoint.scores is not None
    torch.testing.assert_close(checkpoint.scores(images), logits, rtol=1e-5, atol=1e-5)
    assert torch.equal(checkpoint.module(images), logits.argmax(1))


def test_an_image_of_another_layout_is_refused(tmp_path: Path) -> None:
    made = Weights().nature_cnn("features_extractor", 3, FLAT, 32).layer("action_net", 4, 32)
    observation = zips.box(0, 255, (36, 40, 3), "uint8")
    path = zips.write_zip(tmp_path / "a.zip", ON_POLICY, observation, zips.discrete(4), made.tensors)
    with pytest.raises(
        CheckpointError, match=r"takes images \[3, H, W\], the observation space is \[36, 40, 3\]"
    ):
        _load(path)


def test_multi_discrete_takes_the_best_of_each_group(tmp_path: Path) -> None:
    made = Weights().mlp("mlp_extractor.policy_net", 6, 16, 8).layer("action_net", 5, 8)
    path = zips.write_zip(
        tmp_path / "a.zip", ON_POLICY, zips.box(-2, 2, (6,)), zips.multi_discrete(3, 2), made.tensors
    )
    checkpoint = _load(path)
    x = _vectors(6)
    hidden = _affine(made.tensors, "mlp_extractor.policy_net.0", x).tanh()
    logits = _affine(
        made.tensors, "action_net", _affine(made.tensors, "mlp_extractor.policy_net.2", hidden).tanh()
    )
    wanted = torch.stack([logits[:, :3].argmax(1), logits[:, 3:].argmax(1)], 1)
    assert torch.equal(checkpoint.module(x), wanted)
    assert checkpoint.contract.groups == (3, 2)
    assert checkpoint.scores is not None
    assert checkpoint.scores(x).shape == (BATCH, 5)


def test_multi_binary_sets_the_likely_bits_of_one_hot_observations(tmp_path: Path) -> None:
    made = Weights().mlp("mlp_extractor.policy_net", 7, 16).layer("action_net", 4, 16)
    path = zips.write_zip(
        tmp_path / "a.zip", ON_POLICY, zips.multi_discrete(3, 4), zips.multi_binary(4), made.tensors
    )
    checkpoint = _load(path)
    generator = torch.Generator().manual_seed(0)
    x = torch.stack([torch.randint(0, n, (BATCH,), generator=generator) for n in (3, 4)], 1)
    one_hot = torch.cat([F.one_hot(x[:, 0], 3), F.one_hot(x[:, 1], 4)], 1).float()
    hidden = _affine(made.tensors, "mlp_extractor.policy_net.0", one_hot).tanh()
    probabilities = _affine(made.tensors, "action_net", hidden).sigmoid()
    assert torch.equal(checkpoint.module(x), probabilities.round().long())
    assert checkpoint.contract.action == "binary"
    assert (checkpoint.inputs[0].dtype, checkpoint.inputs[0].high) == ("int64", (2.0, 3.0))


def test_a_discrete_observation_is_one_number(tmp_path: Path) -> None:
    made = Weights().mlp("q_net.q_net", 5, 16, 3)
    path = zips.write_zip(
        tmp_path / "a.zip", OFF_POLICY["DQN"], zips.discrete(5), zips.discrete(3), made.tensors
    )
    checkpoint = _load(path)
    x = torch.arange(5)
    hidden = _affine(made.tensors, "q_net.q_net.0", F.one_hot(x, 5).float()).relu()
    assert torch.equal(checkpoint.module(x), _affine(made.tensors, "q_net.q_net.2", hidden).argmax(1))
    assert checkpoint.inputs[0].shape == ()


DICT_TEXT = (
    "{'bits': MultiBinary(2), 'img': Box(0, 255, (3, 36, 40), uint8), 'z': Box(-1.0, 1.0, (2, 3), float32)}"
)


@pytest.mark.parametrize(
    "text", [DICT_TEXT, "OrderedDict([" + DICT_TEXT[1:-1].replace("': ", "', ").replace("'bits", "('bits")
    .replace("), 'img", ")), ('img").replace("), 'z", ")), ('z") + ")])"], ids=["gymnasium", "gym"],
)  # fmt: skip
def test_dict_observations_are_joined_in_the_order_of_the_space(tmp_path: Path, text: str) -> None:
    made = Weights().nature_cnn("actor.features_extractor.extractors.img", 3, FLAT, 8)
    made.mlp("actor.latent_pi", 2 + 8 + 6, 16).layer("actor.mu", 2, 16).layer("actor.log_std", 2, 16)
    path = zips.write_zip(
        tmp_path / "a.zip",
        OFF_POLICY["SAC"],
        zips.dictionary(text),
        zips.box([-2, 0], [1, 5], (2,)),
        made.tensors,
    )
    checkpoint = _load(path)
    assert [(s.name, s.shape, s.dtype) for s in checkpoint.inputs] == [
        ("bits", (2,), "int8"),
        ("img", IMAGE, "uint8"),
        ("z", (2, 3), "float32"),
    ]
    bits, images, z = (_vectors(2) > 0).to(torch.int8), _images(), _vectors(2, 3)
    image_features = _nature(made.tensors, "actor.features_extractor.extractors.img", images.float() / 255)
    features = torch.cat([bits.float(), image_features, z.flatten(1)], 1)
    hidden = _affine(made.tensors, "actor.latent_pi.0", features).relu()
    squashed = _affine(made.tensors, "actor.mu", hidden).tanh()
    low, high = torch.tensor([-2.0, 0.0]), torch.tensor([1.0, 5.0])
    wanted = low + 0.5 * (squashed + 1) * (high - low)
    torch.testing.assert_close(checkpoint.module(bits, images, z), wanted, rtol=1e-5, atol=1e-5)
    assert (checkpoint.contract.low, checkpoint.contract.high) == ((-2.0, 0.0), (1.0, 5.0))
    assert checkpoint.contract.squashed


def test_td3_squashes_and_rescales(tmp_path: Path) -> None:
    made = Weights().mlp("actor.mu", 4, 16, 8, 4).mlp("critic.qf0", 6, 16, 1)
    path = zips.write_zip(
        tmp_path / "a.zip",
        OFF_POLICY["TD3"],
        zips.box(-1, 1, (4,)),
        zips.box(-3, 3, (2, 2)),
        made.tensors,
        policy_delay=2,
        target_noise_clip=0.5,
    )
    checkpoint = _load(path)
    assert checkpoint.source.details["algorithm"] == "TD3"
    x = _vectors(4)
    hidden = _affine(made.tensors, "actor.mu.2", _affine(made.tensors, "actor.mu.0", x).relu()).relu()
    wanted = 3 * _affine(made.tensors, "actor.mu.4", hidden).tanh()
    torch.testing.assert_close(checkpoint.module(x), wanted.view(-1, 2, 2), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("squash", [True, False])
def test_ppo_with_gsde_squashes_only_if_told(tmp_path: Path, squash: bool) -> None:
    made = Weights().mlp("mlp_extractor.policy_net", 4, 16).layer("action_net", 2, 16)
    made.tensors["log_std"] = torch.zeros(16, 2)
    path = zips.write_zip(
        tmp_path / "a.zip",
        ON_POLICY,
        zips.box(-1, 1, (4,)),
        zips.box(-0.5, 0.5, (2,)),
        made.tensors,
        {"squash_output": squash, "use_sde": True},
        use_sde=True,
        clip_range=0.2,
    )
    checkpoint = _load(path)
    x = 4 * _vectors(4)
    mean = _affine(made.tensors, "action_net", _affine(made.tensors, "mlp_extractor.policy_net.0", x).tanh())
    wanted = 0.5 * mean.tanh() if squash else mean.clamp(-0.5, 0.5)
    torch.testing.assert_close(checkpoint.module(x), wanted, rtol=1e-5, atol=1e-5)
    assert checkpoint.contract.squashed == squash
    assert checkpoint.source.details["algorithm"] == "PPO"


@pytest.mark.parametrize("clip", [None, 0.25])
def test_sac_with_gsde_holds_its_mean(tmp_path: Path, clip: float | None) -> None:
    made = Weights().mlp("actor.latent_pi", 4, 16).layer("actor.mu.0", 2, 16)
    made.tensors["actor.log_std"] = torch.zeros(16, 2)
    kwargs = {} if clip is None else {"clip_mean": clip}
    path = zips.write_zip(
        tmp_path / "a.zip",
        OFF_POLICY["SAC"],
        zips.box(-1, 1, (4,)),
        zips.box(-1, 1, (2,)),
        made.tensors,
        kwargs,
    )
    x = 8 * _vectors(4)
    mean = _affine(made.tensors, "actor.mu.0", _affine(made.tensors, "actor.latent_pi.0", x).relu())
    limit = 2.0 if clip is None else clip
    assert (mean.abs() > limit).any()
    torch.testing.assert_close(_load(path).module(x), mean.clamp(-limit, limit).tanh(), rtol=1e-5, atol=1e-5)


def test_layers_shared_with_the_critic_and_another_activation(tmp_path: Path) -> None:
    made = Weights().mlp("mlp_extractor.shared_net", 4, 16).mlp("mlp_extractor.policy_net", 16, 8)
    made.mlp("mlp_extractor.value_net", 16, 8).layer("action_net", 3, 8)
    kwargs = {"activation_fn": "<class 'torch.nn.modules.activation.ELU'>", "net_arch": [16, {"pi": [8]}]}
    path = zips.write_zip(
        tmp_path / "a.zip", ON_POLICY, zips.box(-1, 1, (4,)), zips.discrete(3), made.tensors, kwargs
    )
    checkpoint = _load(path)
    x = _vectors(4)
    shared = F.elu(_affine(made.tensors, "mlp_extractor.shared_net.0", x))
    own = F.elu(_affine(made.tensors, "mlp_extractor.policy_net.0", shared))
    assert checkpoint.scores is not None
    torch.testing.assert_close(checkpoint.scores(x), _affine(made.tensors, "action_net", own))


@pytest.mark.parametrize(("name", "squash"), [("ARSPolicy", True), ("ARSLinearPolicy", False)])
def test_ars_squashes_by_the_class_of_its_policy(tmp_path: Path, name: str, squash: bool) -> None:
    made = Weights().layer("action_net.0", 1, 3)
    policy = (OFF_POLICY["ARS"][0], name)
    path = zips.write_zip(
        tmp_path / "a.zip", policy, zips.box(-1, 1, (3,)), zips.box(-1, 1, (1,)), made.tensors
    )
    x = _vectors(3)
    value = _affine(made.tensors, "action_net.0", x)
    wanted = value.tanh() if squash else value.clamp(-1, 1)
    torch.testing.assert_close(_load(path).module(x), wanted, rtol=1e-5, atol=1e-5)


def test_without_a_policy_class_the_weights_tell(tmp_path: Path) -> None:
    made = (
        Weights()
        .mlp("quantile_net.quantile_net", 4, 16, 10)
        .mlp("quantile_net_target.quantile_net", 4, 16, 10)
    )
    path = zips.write_zip(tmp_path / "a.zip", None, zips.box(-1, 1, (4,)), zips.discrete(2), made.tensors)
    checkpoint = _load(path)
    x = _vectors(4)
    hidden = _affine(made.tensors, "quantile_net.quantile_net.0", x).relu()
    quantiles = _affine(made.tensors, "quantile_net.quantile_net.2", hidden).view(-1, 5, 2)
    assert checkpoint.source.details["algorithm"] == "QR-DQN"
    assert torch.equal(checkpoint.module(x), quantiles.mean(1).argmax(1))


@pytest.mark.parametrize(
    ("policy", "kwargs", "message"),
    [
        (("__main__", "MyPolicy"), {}, r"__main__.MyPolicy, which is none of SB3's own"),
        (
            ("sb3_contrib.common.recurrent.policies", "RecurrentActorCriticPolicy"),
            {},
            "weights of recurrent layer 'lstm_actor' are missing",
        ),
        (ON_POLICY, {"features_extractor_class": "<class '__main__.MyCnn'>"}, "extractor is __main__.MyCnn"),
        (ON_POLICY, {"activation_fn": "<function <lambda> at 0x7f>"}, "which is no class"),
        (ON_POLICY, {"activation_fn": "<class '__main__.Snake'>"}, "activation __main__.Snake is not known"),
    ],
)
def test_what_the_text_does_not_tell_is_refused(
    tmp_path: Path, policy: tuple[str, str], kwargs: dict[str, str], message: str
) -> None:
    made = Weights().mlp("mlp_extractor.policy_net", 4, 8).layer("action_net", 2, 8)
    path = zips.write_zip(
        tmp_path / "a.zip", policy, zips.box(-1, 1, (4,)), zips.discrete(2), made.tensors, kwargs
    )
    with pytest.raises(CheckpointError, match=message):
        _load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"action_net.weight": torch.zeros(3, 8), "action_net.bias": torch.zeros(3)}, "gives 3 numbers"),
        ({"mlp_extractor.policy_net.1.weight": torch.ones(8)}, "numbered 0, 1, not 0, 2"),
        ({"mlp_extractor.policy_net.0.weight": torch.zeros(8, 5)}, "do not fit the observation space"),
        ({"action_net.bias": torch.tensor([0.0, float("nan")])}, r"'action_net.bias' \[2\] holds 1 NaN"),
        ({"action_net.weight": None}, "'action_net.weight' is missing"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_named(
    tmp_path: Path, change: dict[str, torch.Tensor | None], message: str
) -> None:
    made = Weights().mlp("mlp_extractor.policy_net", 4, 8).layer("action_net", 2, 8)
    merged = {**made.tensors, **change}
    tensors = {name: tensor for name, tensor in merged.items() if tensor is not None}
    path = zips.write_zip(tmp_path / "a.zip", ON_POLICY, zips.box(-1, 1, (4,)), zips.discrete(2), tensors)
    with pytest.raises(CheckpointError, match=message):
        _load(path)


def test_nothing_serialized_in_the_zip_is_unpickled(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    made = Weights().mlp("mlp_extractor.policy_net", 4, 8).layer("action_net", 2, 8)
    path = zips.write_zip(
        tmp_path / "a.zip",
        ON_POLICY,
        zips.box(-1, 1, (4,)),
        zips.discrete(2),
        made.tensors,
        serialized=zips.Touch(marker),
    )
    _load(path)
    detect.describe(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("field", "value"), [("key", "actor"), ("network", "a:b"), ("inputs", [{"name": "x", "shape": [4]}])]
)
def test_settings_that_say_nothing_about_a_zip_are_refused(tmp_path: Path, field: str, value: object) -> None:
    made = Weights().mlp("mlp_extractor.policy_net", 4, 8).layer("action_net", 2, 8)
    path = zips.write_zip(
        tmp_path / "a.zip", ON_POLICY, zips.box(-1, 1, (4,)), zips.discrete(2), made.tensors
    )
    with pytest.raises(CheckpointError, match=f"'{field}' cannot be used with an SB3 zip"):
        _load(path, **{field: value})


def test_a_dict_policy_exports_with_a_dynamic_batch(tmp_path: Path) -> None:
    made = Weights().mlp("mlp_extractor.policy_net", 9, 8).layer("action_net", 2, 8)
    text = "{'a': Box(-1.0, 1.0, (5,), float32), 'b': Discrete(4)}"
    path = zips.write_zip(
        tmp_path / "a.zip", ON_POLICY, zips.dictionary(text), zips.discrete(2), made.tensors
    )
    checkpoint = _load(path)
    values = (_vectors(5), torch.arange(BATCH) % 4)
    batch = torch.export.Dim("batch", min=1)
    exported = torch.export.export(
        checkpoint.module, tuple(v[:2] for v in values), dynamic_shapes=({0: batch}, {0: batch})
    )
    assert torch.equal(exported.module()(*values), checkpoint.module(*values))
