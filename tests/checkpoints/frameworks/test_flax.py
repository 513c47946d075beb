"""Files of Flax, written here to its layout, against the networks that they are of."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from grandopt.compiler.checkpoints import detect
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.checkpoints.frameworks.flax import packed
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError
from tests.checkpoints.frameworks import files
from tests.checkpoints.frameworks.flax_files import dense
from tests.checkpoints.frameworks.flax_files import packed as pack

SIZE, ACTIONS = 7, 3


def write(tree: Any, path: Path) -> Path:
    path.write_bytes(pack(tree))
    return path


def load(path: Path, **settings: Any) -> Checkpoint:
    return detect.load("agent", AgentConfig.model_validate({"checkpoint": path, **settings}))


def answer(module: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        given: torch.Tensor = module(files.observations(SIZE))
    return given


def refused(path: Path, **settings: Any) -> str:
    with pytest.raises(CheckpointError) as caught:
        load(path, **settings)
    said = str(caught.value)
    assert said.startswith(str(path))
    assert "\n" not in said
    return said.removeprefix(str(path))


def actor_and_critics(count: int) -> tuple[nn.Sequential, list[Any]]:
    """What CleanRL's DDPG (one critic) and TD3 (two) write, and the actor."""
    actor = files.mlp(SIZE, 16, 16, ACTIONS, between=nn.ReLU)
    critics = [files.mlp(SIZE + ACTIONS, 16, 1, between=nn.ReLU, seed=seed) for seed in range(count)]
    return actor, [{"params": dense(network)} for network in (actor, *critics)]


def test_a_stack_gives_numbers_or_the_index_of_the_largest(tmp_path: Path) -> None:
    network = files.mlp(SIZE, 16, 8, ACTIONS, between=nn.ReLU)
    path = write({"params": dense(network)}, tmp_path / "agent.cleanrl_model")
    found = load(path, activation="relu", distribution="none")
    torch.testing.assert_close(answer(found.module), answer(network))
    assert (found.source.format, found.contract.action) == ("flax", "none")
    assert [(spec.name, spec.shape) for spec in found.inputs] == [("obs", (SIZE,))]
    found = load(path, activation="relu", distribution="categorical")
    assert torch.equal(answer(found.module), answer(network).argmax(dim=1))
    assert found.scores is not None
    torch.testing.assert_close(answer(found.scores), answer(network))
    assert (found.contract.action, found.contract.groups) == ("argmax", (ACTIONS,))


def test_an_optimizer_s_arrays_are_no_networks(tmp_path: Path) -> None:
    network = files.mlp(SIZE, 16, ACTIONS)
    tree = {"params": dense(network)}
    state = {"step": 7, "params": tree, "opt_state": {"0": {"mu": tree, "nu": tree}}}
    found = load(write(state, tmp_path / "state.msgpack"), activation="elu", distribution="none")
    torch.testing.assert_close(answer(found.module), answer(network))


@pytest.mark.parametrize("critics", [1, 2])
def test_an_actor_before_its_critics_acts_within_the_bounds(tmp_path: Path, critics: int) -> None:
    actor, trees = actor_and_critics(critics)
    path = write(trees, tmp_path / "agent")
    found = load(path, activation="relu", bounds={"low": [-1, 0, -2], "high": [1, 4, 2]})
    wanted = answer(actor).tanh() * torch.tensor([1.0, 2, 2]) + torch.tensor([0.0, 2, 0])
    torch.testing.assert_close(answer(found.module), wanted)
    assert (found.contract.low, found.contract.squashed) == ((-1.0, 0.0, -2.0), True)
    plain = load(path, activation="relu", bounds="none")
    torch.testing.assert_close(answer(plain.module), answer(actor).tanh())


def test_c51_takes_the_action_of_the_largest_mean(tmp_path: Path) -> None:
    network = files.mlp(SIZE, 16, ACTIONS * 11, between=nn.ReLU)
    settings = {"n_atoms": 11, "v_min": -10.0, "v_max": 20, "exp_name": "c51_jax", "seed": None, "cuda": True}
    tree = {"model_weights": {"params": dense(network)}, "args": settings}
    path = write(tree, tmp_path / "agent")
    found = load(path, activation="relu")
    shares = answer(network).unflatten(1, (ACTIONS, 11)).softmax(dim=2)
    values = (shares * torch.linspace(-10, 20, 11)).sum(dim=2)
    assert torch.equal(answer(found.module), values.argmax(dim=1))
    assert found.scores is not None
    torch.testing.assert_close(answer(found.scores), values, atol=1e-5, rtol=1e-5)
    settings["n_atoms"] = 7
    assert "no multiple of the 7 atoms" in refused(write(tree, path), activation="relu")
    settings["n_atoms"] = "many"
    assert "which are no atoms" in refused(write(tree, path), activation="relu")


def test_layers_stand_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    network = files.mlp(*[SIZE] * 13, between=nn.Tanh)
    layers = dense(network)
    shuffled = {name: layers[name] for name in sorted(layers)}  # Dense_10 before Dense_2, as from jax
    path = write({"params": shuffled}, tmp_path / "agent")
    found = load(path, activation="tanh", distribution="none")
    torch.testing.assert_close(answer(found.module), answer(network))


def test_inspect_says_what_it_is_and_what_is_asked_for(tmp_path: Path) -> None:
    _, trees = actor_and_critics(2)
    said = detect.describe(write(trees, tmp_path / "agent"))
    assert (said["format"], said["network"]) == ("flax", "Linear(7, 16), Linear(16, 16), Linear(16, 3)")
    assert [line.partition(" ")[0] for line in said["asks"]] == ["--activation", "--action-bounds"]


@pytest.mark.parametrize(
    ("tree", "settings", "words"),
    [
        ("stack", {}, "give --activation NAME"),
        ("stack", {"activation": "relu"}, "give --distribution NAME"),
        ("stack", {"activation": "squarely", "distribution": "none"}, "activation 'squarely' is not known"),
        ("stack", {"activation": "relu", "distribution": "beta"}, "has 'categorical' or 'none'"),
        ("stack", {"activation": "relu", "bounds": "none"}, "'bounds' cannot be used with"),
        ("stack", {"framework": "brax"}, "'framework' cannot be used with"),
        ("stack", {"framework": "none"}, "'framework' cannot be used with"),
        ("stack", {"network": "mlp:relu"}, "'network' cannot be used with"),
        ("actor", {"activation": "relu"}, "give --action-bounds LOW,HIGH"),
        ("actor", {"activation": "relu", "bounds": {"low": [0, 0], "high": 1}}, "the action has 3"),
        ("twins", {"activation": "relu"}, "holds 2 networks (at a, b), and which of them acts is not known"),
        ("conv", {"activation": "relu", "distribution": "none"}, "is no dense layer: its kernel is of shape"),
        ("norm", {"activation": "relu", "distribution": "none"}, "'LayerNorm_0' is no dense layer"),
        ("names", {"activation": "relu", "distribution": "none"}, "does not say where it stands"),
        ("empty", {"activation": "relu"}, "there are no layers in it"),
    ],
)
def test_what_is_missing_or_does_not_fit_is_one_line(
    tmp_path: Path, tree: str, settings: dict[str, Any], words: str
) -> None:
    one = dense(files.mlp(SIZE, 8, ACTIONS))
    trees: dict[str, Any] = {
        "stack": {"params": one}, "actor": actor_and_critics(1)[1], "twins": {"a": one, "b": one},
        "conv": {"Conv_0": {"kernel": np.ones((3, 3, 1, 4), "float32")}},
        "norm": {**one, "LayerNorm_0": {"scale": np.ones(8, "float32")}},
        "names": {"fc": one["Dense_0"], "out": one["Dense_1"]}, "empty": {"params": {}},
    }  # fmt: skip
    assert words in refused(write(trees[tree], tmp_path / "agent"), **settings)


def test_plain_values_and_arrays_are_what_was_written() -> None:
    written = {
        "text": "é" * 40, "whole": [0, -1, 1 << 40], "number": 0.5, "yes": True, "none": None, "raw": b"ab",
        **{name: np.arange(6).reshape(2, 3).astype(name) for name in ("float16", "int8", "bool", "uint64")},
        "scalar": np.array(2.0), "many": {str(index): index for index in range(40)},
    }  # fmt: skip
    found = packed.tree(pack(written), "agent")
    assert found["whole"] == {"0": 0, "1": -1, "2": 1 << 40}
    for name in ("text", "number", "yes", "none", "raw", "many"):
        assert found[name] == written[name]
    for name in ("float16", "int8", "bool", "uint64", "scalar"):
        np.testing.assert_array_equal(found[name], written[name])
        assert found[name].dtype == written[name].dtype


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x81\xa1a\xdd\xff\xff\xff\xff", "a list of 4,294,967,295 in 0 bytes"),
        (b"\x81\xa1a\xdf\xff\xff\xff\xff", "a dict of 4,294,967,295 in 0 bytes"),
        (b"\x81\xa1a\xc6\xff\xff\xff\xff", "4,294,967,295 bytes are said to follow"),
        (b"\x81\xa1a" + b"\x91" * 500 + b"\xc0", "or 100 levels of them"),
        (b"\x81\xa1a\xc1", "a value begins with 0xc1"),
        (b"\x82\xa1a\xc0\xa1a\xc0", "a key is 'a', where each is a text of its own"),
        (b"\x81\xa1a\xd4\x05a", "holds extension 5"),
        (b"\x81\xa1a\xc7\x02\x01\x91\x03", "an array is not its shape"),
        (b"\x81\xa1a" + pack(np.ones(3, "complex64")), "dtype 'complex64'"),
        (b"\x81\xa1a" + pack(np.ones(3, "float32")).replace(b"\x91\x03", b"\x91\x04"), "in 12 bytes"),
        (b"\x81\xa1a\xc0\xc0", "1 bytes are left over"),
        (b"\x81\xa1\xff\xc0", "invalid start byte"),
        (pack({packed.CHUNKED: True}), "more than a gigabyte"),
    ],
)
def test_bytes_that_are_none_of_flax_are_one_line(data: bytes, words: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        packed.tree(data, "agent")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damaged_files_are_refused_or_read(tmp_path: Path) -> None:
    whole = pack(actor_and_critics(1)[1])
    rng = random.Random(0)
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        if rng.random() < 0.3:
            del damaged[rng.randrange(len(damaged)) :]
        assert "\n" not in _said(bytes(damaged))


def _said(data: bytes) -> str:
    try:
        return ", ".join(packed.tree(data, "agent"))
    except CheckpointError as error:
        return str(error)
