"""Folders of LeRobot's ACT, written here to its layout, against the same network in torch's own modules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from grandopt.compiler.checkpoints import detect
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.checkpoints.frameworks.lerobot import network, resnet
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError
from tests.checkpoints.frameworks import lerobot_folders as lerobot

NAMES = tuple(lerobot.VECTORS)


def load(path: Path, **settings: Any) -> Checkpoint:
    return detect.load("agent", AgentConfig.model_validate({"checkpoint": path, **settings}))


def refused(path: Path, **settings: Any) -> str:
    with pytest.raises(CheckpointError) as caught:
        load(path, **settings)
    said = str(caught.value)
    assert said.startswith(str(path))
    assert "\n" not in said
    return said.removeprefix(str(path))


def observed() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return {name: torch.randn(9, size, generator=generator) for name, (_, size) in lerobot.VECTORS.items()}


def normalised(name: str, value: torch.Tensor, mode: str, *, old: bool = False) -> torch.Tensor:
    found = lerobot.statistics()
    if mode == "IDENTITY":
        return value
    if mode == "MEAN_STD":
        return (value - found[f"{name}.mean"]) / (found[f"{name}.std"] + 1e-8)
    low, high = found[f"{name}.min"], found[f"{name}.max"]
    return 2 * (value - low) / (high - low + (1e-8 if old else 0)) - 1


def wanted(made: nn.Module, modes: dict[str, str], *, old: bool = False) -> torch.Tensor:
    """The chunk in the robot's units."""
    kinds = [modes[kind] for kind, _ in lerobot.VECTORS.values()]
    given = [
        normalised(name, value, mode, old=old)
        for (name, value), mode in zip(observed().items(), kinds, strict=True)
    ]
    found = lerobot.statistics()
    with torch.no_grad():
        action: torch.Tensor = made(*given)
    match modes["ACTION"]:
        case "MEAN_STD":
            return action * found["action.std"] + found["action.mean"]
        case "MIN_MAX":
            low, high = found["action.min"], found["action.max"]
            return (action + 1) / 2 * (high - low) + low
    return action


def answer(found: Checkpoint) -> torch.Tensor:
    with torch.no_grad():
        given: torch.Tensor = found.module(*observed().values())
    return given


@pytest.mark.parametrize("pre_norm", [False, True])
def test_it_is_the_whole_chunk_in_the_robot_s_units(tmp_path: Path, pre_norm: bool) -> None:
    made = lerobot.reference(pre_norm=pre_norm)
    found = load(lerobot.written(tmp_path / "pretrained_model", made, lerobot.config(pre_norm=pre_norm)))
    torch.testing.assert_close(answer(found), wanted(made, lerobot.MODES), atol=1e-5, rtol=1e-5)
    assert answer(found).shape == (9, lerobot.CHUNK, lerobot.ACTIONS)
    assert tuple(spec.name for spec in found.inputs) == NAMES
    assert found.source.details["chunk"] == lerobot.CHUNK
    assert "queue and temporal ensemble are the host's" in found.source.details["host"]
    assert [item.kind for item in found.statistics] == ["MEAN_STD", "MIN_MAX", "MEAN_STD"]
    assert found.moments.keys() == {"observation.state"}
    assert found.inputs[1].low == pytest.approx(lerobot.statistics()[f"{NAMES[1]}.min"].tolist())


@pytest.mark.parametrize(
    "modes",
    [
        {"STATE": "MIN_MAX", "ENV": "IDENTITY", "ACTION": "MIN_MAX"},
        {"STATE": "IDENTITY", "ENV": "MEAN_STD", "ACTION": "IDENTITY"},
    ],
)
def test_each_kind_of_feature_is_normalised_as_the_processors_say(
    tmp_path: Path, modes: dict[str, str]
) -> None:
    made = lerobot.reference()
    found = load(lerobot.written(tmp_path / "p", made, documents=lerobot.processors(modes)))
    torch.testing.assert_close(answer(found), wanted(made, modes), atol=1e-5, rtol=1e-5)


def test_quantiles_are_ends_of_a_range(tmp_path: Path) -> None:
    made, modes = lerobot.reference(), {"STATE": "MIN_MAX", "ENV": "IDENTITY", "ACTION": "MIN_MAX"}
    said = {kind: mode.replace("MIN_MAX", "QUANTILES") for kind, mode in modes.items()}
    path = lerobot.written(tmp_path / "p", made, documents=lerobot.processors(said))
    named = {
        key.replace(".min", ".q01").replace(".max", ".q99"): tensor
        for key, tensor in lerobot.statistics().items()
    }
    for name in ("before", "behind"):
        save_file(named, path / f"{name}.safetensors")
    torch.testing.assert_close(answer(load(path)), wanted(made, modes), atol=1e-5, rtol=1e-5)


def test_buffers_of_old_hold_the_statistics_too(tmp_path: Path) -> None:
    made = lerobot.reference()
    found = load(lerobot.of_old(tmp_path / "p", made))
    torch.testing.assert_close(answer(found), wanted(made, lerobot.MODES, old=True), atol=1e-5, rtol=1e-5)
    assert found.contract.normalised


def test_a_feature_that_never_changed_has_a_span_of_the_epsilon(tmp_path: Path) -> None:
    path = lerobot.written(tmp_path / "p", lerobot.reference())
    tensors = lerobot.statistics()
    tensors[f"{NAMES[1]}.max"][2] = tensors[f"{NAMES[1]}.min"][2]
    save_file(tensors, path / "before.safetensors")
    span = load(path).module.get_buffer("normalise.1.span")
    assert span[2] == pytest.approx(1e-8)
    assert span[0] == pytest.approx(3)


def test_renamed_observations_have_the_host_s_names(tmp_path: Path) -> None:
    made = lerobot.reference()
    documents = lerobot.processors(rename={"qpos": "observation.state"})
    found = load(lerobot.written(tmp_path / "p", made, documents=documents))
    assert [spec.name for spec in found.inputs] == ["qpos", "observation.environment_state"]
    torch.testing.assert_close(answer(found), wanted(made, lerobot.MODES), atol=1e-5, rtol=1e-5)


def test_half_precision_is_widened(tmp_path: Path) -> None:
    made = lerobot.reference().bfloat16().float()
    path = lerobot.written(tmp_path / "p", made)
    save_file({name: t.bfloat16() for name, t in lerobot.weights(made).items()}, path / "model.safetensors")
    torch.testing.assert_close(answer(load(path)), wanted(made, lerobot.MODES), atol=1e-5, rtol=1e-5)


def test_places_in_an_image_are_sines_and_cosines() -> None:
    torch.testing.assert_close(network.positions(3, 2, 16), lerobot.positions(3, 2, 16), atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_a_camera_s_features_become_tokens(tmp_path: Path) -> None:
    made = lerobot.reference()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        made.backbone = resnet.Backbone("resnet18", 3)
        made.encoder_img_feat_input_proj = nn.Conv2d(512, lerobot.SIZE, 1)
    settings = lerobot.config(images=(3, 40, 70))
    settings["normalization_mapping"] = {**lerobot.MODES, "VISUAL": "IDENTITY"}
    documents = lerobot.processors(settings["normalization_mapping"])
    path = lerobot.written(tmp_path / "p", made, settings, documents)
    tensors = load_file(path / "model.safetensors")
    counts = [name for name in tensors if name.endswith(resnet.COUNT)]
    save_file({n: t for n, t in tensors.items() if n not in counts}, path / "model.safetensors")
    found = load(path)
    assert [(spec.name, spec.shape, spec.low, spec.high) for spec in found.inputs][2] == (
        "observation.images.top", (3, 40, 70), 0.0, 1.0,
    )  # fmt: skip
    image = torch.rand(9, 3, 40, 70, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        one, other = (found.module(*observed().values(), image * scale) for scale in (1.0, 0.2))
        alone = found.module(*(value[:1] for value in observed().values()), image[:1])
    assert one.shape == (9, lerobot.CHUNK, lerobot.ACTIONS)
    assert not torch.allclose(one, other)
    torch.testing.assert_close(alone, one[:1], atol=1e-5, rtol=1e-5)


def test_inspect_says_what_it_is_and_what_is_left_to_the_host(tmp_path: Path) -> None:
    said = detect.describe(lerobot.written(tmp_path / "p", lerobot.reference()))
    assert (said["format"], said["framework"], said["asks"]) == ("lerobot", "LeRobot", [])
    assert said["inputs"] == {NAMES[0]: "[6], MEAN_STD", NAMES[1]: "[4], MIN_MAX"}
    assert said["action"] == "[5, 3], MEAN_STD"
    assert "queue and temporal ensemble" in said["host"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"type": "diffusion"}, "is a policy of type 'diffusion', of which no reader is here"),
        ({"n_obs_steps": 2}, "'n_obs_steps' is 2; an ACT takes 1"),
        ({"dim_model": 32}, "in all do not fit"),
        ({"n_heads": 3}, "'dim_model' 16 is no multiple of 4 and of 'n_heads' 3"),
        ({"n_encoder_layers": 10**9}, "'n_encoder_layers' is 1000000000, no whole number from 1 to 64"),
        ({"n_encoder_layers": 3}, "'encoder.layers.2.self_attn.in_proj_weight' has the shape None"),
        ({"chunk_size": "many"}, "'chunk_size' is 'many'"),
        ({"feedforward_activation": "glu"}, "'feedforward_activation' is 'glu', neither"),
        ({"replace_final_stride_with_dilation": True}, "fits no ResNet that is read here"),
        ({"input_features": {}}, "or neither an image nor 'observation.environment_state'"),
        ({"input_features": {"observation.state": {"type": "STATE"}}}, "has no type or no shape"),
        ({"output_features": {}}, "names no 'action' among its outputs"),
        ({"normalization_mapping": None}, "'normalization_mapping' is missing"),
        ({"input_features": {"i": {"type": "VISUAL", "shape": [3, 1 << 20, 1 << 20]}}}, "are taken"),
    ],
)
def test_a_configuration_that_does_not_fit_is_one_line(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    settings = {**lerobot.config(), **changes}
    assert words in refused(lerobot.written(tmp_path / "p", lerobot.reference(), settings))


def test_another_backbone_is_named_and_refused(tmp_path: Path) -> None:
    settings = lerobot.config(images=(3, 40, 70), vision_backbone="resnet50")
    said = refused(lerobot.written(tmp_path / "p", lerobot.reference(), settings))
    assert "'vision_backbone' is 'resnet50'; of the ResNets resnet18, resnet34 are read" in said


@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "policy_preprocessor.json", "policy_postprocessor.json", "behind.safetensors"],
)
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    path = lerobot.written(tmp_path / "p", lerobot.reference())
    (path / name).unlink()
    assert f"'{name}' is missing from it" in refused(path)


def test_missing_statistics_are_one_line(tmp_path: Path) -> None:
    path = lerobot.written(tmp_path / "p", lerobot.reference())
    save_file({"action.mean": torch.ones(3)}, path / "before.safetensors")
    assert "lacks the statistic 'mean' of 'observation.state', which is normalised by MEAN_STD" in refused(
        path
    )
    for name in ("policy_preprocessor.json", "policy_postprocessor.json"):
        (path / name).unlink()
    assert "lacks the statistic 'mean' of 'observation.state'" in refused(path)


def step(**changes: Any) -> dict[str, Any]:
    """Processors with another last step before the network."""
    documents = lerobot.processors()
    documents["policy_preprocessor"]["steps"][-1] |= changes
    return documents


@pytest.mark.parametrize(
    ("documents", "words"),
    [
        (step(registry_name="tokenizer_processor"), "has the step 'tokenizer_processor', which does more"),
        (step(registry_name="to_batch_processor"), "has no step 'normalizer_processor'"),
        (step(registry_name="unnormalizer_processor"), "where it does not belong, or twice"),
        (step(config={"eps": "small", "norm_map": {}}), "'eps' is 'small'"),
        (step(config={"eps": 1e-8}), "'norm_map' is missing"),
        (
            step(config={"eps": 1e-8, "norm_map": {"STATE": "TANH"}}),
            "normalises by 'TANH', which is not known",
        ),
        (step(state_file="../../etc/passwd"), "'../../etc/passwd' is missing from it"),
        ({"policy_preprocessor": [], "policy_postprocessor": {}}, "holds no JSON object, but a list"),
    ],
)
def test_processors_that_do_something_else_are_one_line(tmp_path: Path, documents: Any, words: str) -> None:
    assert words in refused(lerobot.written(tmp_path / "p", lerobot.reference(), documents=documents))


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["model.action_head.weight", "action.std"])
def test_weights_and_statistics_that_are_no_numbers_are_one_line(
    tmp_path: Path, name: str, number: float
) -> None:
    path = lerobot.written(tmp_path / "p", lerobot.reference())
    file = path / ("model.safetensors" if name.startswith("model") else "behind.safetensors")
    tensors = load_file(file)
    tensors[name].view(-1)[1] = number
    save_file(tensors, file)
    assert "NaN" in refused(path)


def test_a_header_beyond_the_limits_is_one_line(tmp_path: Path) -> None:
    path = lerobot.written(tmp_path / "p", lerobot.reference())
    (path / "model.safetensors").write_bytes((1 << 40).to_bytes(8, "little") + b"{}")
    assert "its table of contents has 1,099,511,627,776 bytes" in refused(path)


def test_other_libraries_folders_are_none_of_lerobot(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "type": "act"}))
    with pytest.raises(CheckpointError, match="is a folder; give the path of a checkpoint file in it"):
        detect.detect(tmp_path)
