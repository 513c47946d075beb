"""Plain stacks of linear layers are rebuilt from names and shapes; nothing is guessed."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from grandopt.compiler.checkpoints import detect
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.checkpoints.weight_files import plain
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError


def mlp(*sizes: int) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ELU()]
    return nn.Sequential(*layers[:-1])


def opened(
    tensors: dict[str, torch.Tensor], folder: Path, network: str, key: str | None = None
) -> Checkpoint:
    path = folder / "actor.pth"
    torch.save(tensors, path)
    return detect.load("a", AgentConfig(checkpoint=path, network=network, key=key))


def test_it_is_the_network_and_its_input_is_known(tmp_path: Path) -> None:
    network = mlp(5, 8, 8, 3)
    checkpoint = opened(network.state_dict(), tmp_path, "mlp:elu,tanh")
    x = torch.randn(4, 5)
    torch.testing.assert_close(checkpoint.module(x), network(x).tanh())
    assert [(spec.name, spec.shape) for spec in checkpoint.inputs] == [("obs", (5,))]
    words = "Sequential(Linear(5, 8), elu, Linear(8, 8), elu, Linear(8, 3), tanh)"
    assert checkpoint.source.details["network"] == words
    plain = opened(network.state_dict(), tmp_path, "mlp:elu")
    torch.testing.assert_close(plain.module(x), network(x))


@pytest.mark.parametrize("prefix", ["", "_orig_mod.", "module.", "_orig_mod.module.policy."])
def test_wrappers_and_a_spread_are_left_out(tmp_path: Path, prefix: str) -> None:
    network = mlp(5, 8, 3)
    tensors = {f"{prefix}{key}": value for key, value in network.state_dict().items()}
    checkpoint = opened({"a_logstd": torch.zeros(1, 3), **tensors}, tmp_path, "mlp:elu")
    x = torch.randn(4, 5)
    torch.testing.assert_close(checkpoint.module(x), network(x))
    assert checkpoint.source.details["left_out"] == "a_logstd"


def test_a_norm_stands_behind_its_layer_and_names_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(5, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU())
    network.append(nn.Linear(8, 2, bias=False))
    with torch.no_grad():
        network[1].weight.uniform_(0.5, 2.0)
    checkpoint = opened(network.state_dict(), tmp_path, "mlp:relu")
    x = torch.randn(4, 5)
    torch.testing.assert_close(checkpoint.module(x), network(x))
    shuffled = mlp(5, 7, 6, 2)
    names = {"0": "fc1", "2": "fc2", "4": "fc10"}
    tensors = {f"{names[key[0]]}{key[1:]}": value for key, value in shuffled.state_dict().items()}
    found = opened(dict(sorted(tensors.items())), tmp_path, "mlp:elu")
    torch.testing.assert_close(found.module(x), shuffled(x))


def _normed(*modules: nn.Module) -> nn.Sequential:
    """The modules as one network, whose norms do something."""
    network = nn.Sequential(*modules)
    torch.manual_seed(1)
    with torch.no_grad():
        for module in network:
            if isinstance(module, nn.LayerNorm):
                module.weight.uniform_(0.5, 2.0)
                module.bias.normal_()
    return network


@pytest.mark.parametrize(
    "network",
    [
        _normed(nn.Linear(5, 8), nn.ELU(), nn.LayerNorm(8), nn.Linear(8, 3)),
        _normed(nn.LayerNorm(5), nn.Linear(5, 8), nn.ELU(), nn.LayerNorm(8), nn.Linear(8, 3)),
        _normed(nn.Linear(5, 8), nn.LayerNorm(8), nn.ELU(), nn.Dropout(), nn.Linear(8, 3)).eval(),
    ],
)
def test_the_activation_stands_where_the_numbers_leave_a_gap(tmp_path: Path, network: nn.Sequential) -> None:
    x = torch.randn(4, 5)
    torch.testing.assert_close(opened(network.state_dict(), tmp_path, "mlp:elu").module(x), network(x))


def test_a_norm_by_another_name_stands_where_it_alone_fits(tmp_path: Path) -> None:
    network = _normed(nn.LayerNorm(5), nn.Linear(5, 8), nn.LayerNorm(8), nn.ELU(), nn.Linear(8, 3))
    names = {"0": "norm", "1": "fc1", "2": "inner", "4": "fc2"}
    tensors = {f"{names[key[0]]}{key[1:]}": value for key, value in network.state_dict().items()}
    x = torch.randn(4, 5)
    torch.testing.assert_close(opened(tensors, tmp_path, "mlp:elu").module(x), network(x))


def test_layers_of_lists_have_the_activation_before_the_next_linear_layer(tmp_path: Path) -> None:
    blocks = [_normed(nn.Linear(size, 8), nn.LayerNorm(8), nn.ELU()) for size in (5, 8)]
    network = nn.Sequential(nn.Sequential(*blocks), nn.Sequential(nn.Linear(8, 3)))
    x = torch.randn(4, 5)
    torch.testing.assert_close(opened(network.state_dict(), tmp_path, "mlp:elu").module(x), network(x))
    listed = nn.ModuleList([nn.Linear(5, 8), nn.Linear(8, 3)])
    found = opened(listed.state_dict(), tmp_path, "mlp:elu")
    torch.testing.assert_close(found.module(x), listed[1](nn.functional.elu(listed[0](x))))


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 4)),
        nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)),
        nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.LayerNorm(4)),
        nn.ModuleDict(
            {"fc1": nn.Linear(4, 4), "fc2": nn.Linear(4, 4), "n1": nn.LayerNorm(4), "n2": nn.LayerNorm(4)}
        ),
        nn.ModuleDict({"fc1": nn.Linear(4, 4), "fc2": nn.Linear(4, 4), "norm": nn.LayerNorm(4)}),
        nn.ModuleDict({"norm": nn.LayerNorm(4), "fc1": nn.Linear(4, 4), "fc2": nn.Linear(4, 2)}),
    ],
)
def test_norms_and_activations_without_a_clear_place_are_refused(tmp_path: Path, network: nn.Module) -> None:
    with pytest.raises(CheckpointError, match="do not say where norms and activation stand between"):
        opened(network.state_dict(), tmp_path, "mlp:relu")


@pytest.mark.parametrize("network", [nn.RMSNorm(8), nn.PReLU(8), nn.LayerNorm(8, bias=False)])
def test_one_number_for_each_unit_may_be_of_any_norm(tmp_path: Path, network: nn.Module) -> None:
    stack = nn.Sequential(nn.Linear(5, 8), network, nn.ReLU(), nn.Linear(8, 3))
    with pytest.raises(CheckpointError, match=r"tensor '1\.weight' \[8\] belongs to none"):
        opened(stack.state_dict(), tmp_path, "mlp:relu")


def test_a_file_that_was_sorted_by_text_is_not_read_in_its_order(tmp_path: Path) -> None:
    body = {f"fc.{place}.weight": torch.eye(4) for place in (0, 10, 2)}
    with pytest.raises(CheckpointError, match="do not fit one behind the other"):
        opened({**body, "head.weight": torch.eye(4)}, tmp_path, "mlp:relu")


def test_a_number_that_no_module_has_is_no_bug(tmp_path: Path) -> None:
    tensors = {f"fc.{'9' * 5000}.weight": torch.eye(4), "fc.0.weight": torch.eye(4)}
    assert opened(tensors, tmp_path, "mlp:relu").inputs[0].shape == (4,)


def test_the_dtype_follows_from_the_weights(tmp_path: Path) -> None:
    checkpoint = opened(mlp(5, 8, 3).double().state_dict(), tmp_path, "mlp:elu")
    assert checkpoint.inputs[0].dtype == "float64"


def test_a_part_of_a_flat_file_is_chosen_by_its_key(tmp_path: Path) -> None:
    both = nn.ModuleDict({"actor": mlp(4, 8, 4), "critic": mlp(4, 8, 1)})
    with pytest.raises(CheckpointError, match=r"no plain stack \(.*begin with actor, critic\)"):
        opened(both.state_dict(), tmp_path, "mlp:elu")
    x = torch.randn(3, 4)
    found = opened(both.state_dict(), tmp_path, "mlp:elu", key="critic")
    torch.testing.assert_close(found.module(x), both["critic"](x))
    path = tmp_path / "actor.safetensors"
    save_file(both.state_dict(), path)
    found = detect.load("a", AgentConfig(checkpoint=path, network="mlp:elu", key="actor"))
    torch.testing.assert_close(found.module(x), both["actor"](x))


def test_layers_without_an_order_are_no_stack(tmp_path: Path) -> None:
    """A file of safetensors keeps none, and two layers may fit either way round."""
    network = nn.ModuleDict({"first": nn.Linear(4, 8), "action": nn.Linear(8, 4)})
    found = opened(network.state_dict(), tmp_path, "mlp:relu")
    x = torch.randn(3, 4)
    torch.testing.assert_close(found.module(x), network["action"](network["first"](x).relu()))
    path = tmp_path / "actor.safetensors"
    save_file(network.state_dict(), path)
    with pytest.raises(CheckpointError, match="no plain stack"):
        detect.load("a", AgentConfig(checkpoint=path, network="mlp:relu"))


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"deep.weight": torch.zeros(2, 3, 3, 3, 3)}, r"no plain stack of layers: tensor 'deep.weight'"),
        ({"conv.weight": torch.zeros(2, 3, 3, 3)}, r"names begin with nothing"),
        ({"a.weight": torch.zeros(4, 3), "b.weight": torch.zeros(2, 5)}, "do not fit one behind the other"),
        ({"a.weight": torch.zeros(4, 3), "a.bias": torch.zeros(5)}, "do not fit one behind the other"),
        ({"norm.weight": torch.zeros(4)}, "tensor 'norm.weight'"),
        ({f"norm.{part}": torch.zeros(4) for part in ("weight", "bias")}, "do not fit one behind the other"),
        ({"log_std": torch.zeros(4)}, r"names begin with nothing"),
        ({"a.weight": torch.zeros(4, 3), "scale": torch.zeros(4)}, "tensor 'scale'"),
        ({"a.weight": torch.zeros(4, 3, dtype=torch.int64)}, "tensor 'a.weight'"),
    ],
)
def test_what_is_no_stack_is_refused(tmp_path: Path, tensors: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        opened(tensors, tmp_path, "mlp:relu")
    assert "\n" not in str(caught.value)
    assert plain.spelling(tensors) == {}


@pytest.mark.parametrize("network", ["mlp:rleu", "mlp:relu,tanh,tanh", "mlp:", "mlp:relu,"])
def test_an_unknown_activation_is_refused(tmp_path: Path, network: str) -> None:
    with pytest.raises(CheckpointError, match=r"network 'mlp:.*write mlp:HIDDEN or .* with relu, elu"):
        opened(mlp(5, 8, 3).state_dict(), tmp_path, network)


def test_a_module_of_the_users_own_by_that_name_is_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlp.py").write_text("")
    assert plain.wanted("mlp:Actor") is None
    assert plain.wanted("mlp:relu,tanh") == plain.Wanted("mlp", "relu", "tanh")


def test_arguments_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "actor.pth"
    torch.save(mlp(5, 8, 3).state_dict(), path)
    with pytest.raises(CheckpointError, match="'network_args' cannot be used with 'mlp:elu'"):
        detect.load("a", AgentConfig(checkpoint=path, network="mlp:elu", network_args={"width": 8}))


def test_inspect_and_the_error_propose_it(tmp_path: Path) -> None:
    path = tmp_path / "actor.pth"
    torch.save({"step": 3, "actor": mlp(5, 8, 3).state_dict(), "std": {"log_std": torch.zeros(3)}}, path)
    actor, spread = detect.describe(path)["state_dicts"]
    spelled = "Sequential(Linear(5, 8), ACTIVATION, Linear(8, 3), OUTPUT)"
    assert (actor["key"], actor["spells"]) == ("actor", spelled)
    assert actor["network"].startswith("mlp:ACTIVATION")
    assert "spells" not in spread
    with pytest.raises(CheckpointError) as caught:
        detect.load("a", AgentConfig(checkpoint=path, key="actor"))
    assert f"its keys spell {spelled}, which `network: mlp:ACTIVATION,OUTPUT` makes" in str(caught.value)


def test_inspect_proposes_the_parts_of_a_flat_file(tmp_path: Path) -> None:
    path = tmp_path / "actor.pth"
    both = nn.ModuleDict({"actor": nn.ModuleDict({"net": mlp(4, 8, 4)}), "critic": mlp(4, 8, 1)})
    torch.save({"model": {"std": torch.zeros(4), **both.state_dict()}}, path)
    (found,) = detect.describe(path)["state_dicts"]
    assert [part["key"] for part in found["parts"]] == ["model.actor", "model.critic"]
    assert found["parts"][1]["spells"] == "Sequential(Linear(4, 8), ACTIVATION, Linear(8, 1), OUTPUT)"
    x = torch.randn(3, 4)
    for key, network in (("model.actor", both["actor"]["net"]), ("model.critic", both["critic"])):
        checkpoint = detect.load("a", AgentConfig(checkpoint=path, network="mlp:elu", key=key))
        torch.testing.assert_close(checkpoint.module(x), network(x))
    wrapped = {f"_orig_mod.{key}": value for key, value in both.state_dict().items()}
    found = opened(wrapped, tmp_path, "mlp:elu", key="critic")
    torch.testing.assert_close(found.module(x), both["critic"](x))
