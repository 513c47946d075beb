"""The original is what the user has, in its own dtypes; the inputs' dtype follows from its weights."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from grandopt.compiler.checkpoints import detect, dtypes
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
MEANS = torch.tensor([1e5, -3e6, 40.0], dtype=torch.float64)


def plain() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 8), nn.ELU(), nn.Linear(8, 2))


class Normalised(nn.Module):
    """float64 statistics of prices ahead of a float32 network, as trainers keep them."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(3, dtype=torch.float64))
        self.register_buffer("running_var", torch.ones(3, dtype=torch.float64))
        self.net = plain()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(((x - self.running_mean) / self.running_var.sqrt()).float())


class HalfInside(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = plain().half()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x.half()).float()


class Mixed(nn.Module):
    """Layers of any dtypes, each casting what it takes; its code makes all of them float32."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(3, 3) for _ in range(3))
        self.register_buffer("shift", torch.randn(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer((x + self.shift).to(layer.weight.dtype)).tanh()
        return x


def _agent(path: Path, factory: str | None = "plain", **settings: Any) -> AgentConfig:
    network = {} if factory is None else {"network": f"{__name__}:{factory}"}
    given = {"checkpoint": path, **network, "inputs": [{"name": "x", "shape": [3]}], **settings}
    return AgentConfig.model_validate(given)


def _stored(original: nn.Module, path: Path, form: str, factory: str) -> Checkpoint:
    match form:
        case "state_dict":
            torch.save(original.state_dict(), path)
            return detect.load("a", _agent(path, factory))
        case "safetensors":
            save_file(dict(original.state_dict()), path)
            return detect.load("a", _agent(path, factory))
        case "pickled":
            torch.save(original, path)
            return detect.load("a", _agent(path, None, trust=True))
        case _:
            torch.jit.save(torch.jit.script(original), path)
            return detect.load("a", _agent(path, None))


FORMS = ["state_dict", "safetensors", "pickled", "torchscript"]


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_a_network_of_one_dtype_stays_it_and_takes_it(tmp_path: Path, form: str, dtype: torch.dtype) -> None:
    original = plain().to(dtype).eval()
    checkpoint = _stored(original, tmp_path / "agent.pt", form, "plain")
    stored = {tensor.dtype for tensor in checkpoint.module.parameters()}
    assert stored == {dtype}
    taken = torch.float32 if dtype == torch.bfloat16 else dtype  # NumPy has none
    assert checkpoint.inputs[0].dtype == str(taken).removeprefix("torch.")
    x = torch.randn(5, 3).to(dtype)
    with torch.no_grad():
        got, wanted = checkpoint.module(x.to(taken)), original(x)
    assert got.dtype == taken
    assert torch.equal(got, wanted.to(taken))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("form", FORMS)
def test_float64_statistics_of_large_means_keep_their_digits(tmp_path: Path, form: str) -> None:
    original = Normalised().eval()
    original.running_mean.copy_(MEANS + 0.0123456789)
    original.running_var.copy_(torch.tensor([1e-4, 1e-2, 1.0]))
    checkpoint = _stored(original, tmp_path / "agent.pt", form, "Normalised")
    x = (original.running_mean + torch.randn(64, 3) * original.running_var.sqrt()).float()
    assert checkpoint.inputs[0].dtype == "float32"
    with torch.no_grad():
        assert torch.equal(checkpoint.module(x), original(x))
    rounded = Normalised()
    rounded.load_state_dict(original.state_dict())
    rounded.running_mean.data = rounded.running_mean.data.float()
    assert (rounded(x) - original(x)).abs().max() > 1e-3  # what rounding them would do


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("form", FORMS)
def test_half_inside_takes_float32(tmp_path: Path, form: str) -> None:
    original = HalfInside().eval()
    checkpoint = _stored(original, tmp_path / "agent.pt", form, "HalfInside")
    x = torch.randn(5, 3)
    assert checkpoint.inputs[0].dtype == "float32"
    with torch.no_grad():
        assert torch.equal(checkpoint.module(x), original(x))


def test_half_weights_with_declared_float32_inputs_are_a_float32_network(tmp_path: Path) -> None:
    original = plain().half()
    torch.save(original.state_dict(), tmp_path / "agent.pt")
    inputs = [{"name": "x", "shape": [3], "dtype": "float32"}]
    checkpoint = detect.load("a", _agent(tmp_path / "agent.pt", inputs=inputs))
    x = torch.randn(5, 3)
    with torch.no_grad():
        assert torch.equal(checkpoint.module(x), original.float()(x))


def test_a_declared_dtype_is_not_replaced(tmp_path: Path) -> None:
    torch.save(plain().double().state_dict(), tmp_path / "agent.pt")
    inputs = [{"name": "x", "shape": [3], "dtype": "float32"}]
    with pytest.raises(CheckpointError, match=r"does not take x \[2, 3\]: RuntimeError: mat1 and mat2"):
        detect.load("a", _agent(tmp_path / "agent.pt", inputs=inputs))


def test_what_fits_no_dtype_says_what_was_tried(tmp_path: Path) -> None:
    torch.save(plain().double().state_dict(), tmp_path / "agent.pt")
    wrong = [{"name": "x", "shape": [4]}]
    with pytest.raises(CheckpointError, match=r"x \[2, 4\] of float64: .*shapes cannot be multiplied"):
        detect.load("a", _agent(tmp_path / "agent.pt", inputs=wrong))
    torch.save(plain().half().state_dict(), tmp_path / "agent.pt")
    with pytest.raises(CheckpointError, match=r"x \[2, 4\]: .*; nor does it take float16"):
        detect.load("a", _agent(tmp_path / "agent.pt", inputs=wrong))


def test_a_dtype_that_the_code_chose_is_kept_where_it_is_wider(tmp_path: Path) -> None:
    original = Normalised()
    stored = {key: value.float() for key, value in original.state_dict().items()}
    torch.save(stored, tmp_path / "agent.pt")
    module = detect.load("a", _agent(tmp_path / "agent.pt", "Normalised")).module
    assert module.running_mean.dtype == torch.float64


@settings(max_examples=60)
@given(chosen=st.lists(st.sampled_from(FLOATS), min_size=4, max_size=4))
def test_any_mixture_of_dtypes_is_loaded_as_it_was_stored(
    tmp_path_factory: pytest.TempPathFactory, chosen: list[torch.dtype]
) -> None:
    original = Mixed().eval()
    for layer, dtype in zip(original.layers, chosen, strict=False):
        layer.to(dtype)
    original.shift.data = original.shift.data.to(chosen[3])
    path = tmp_path_factory.mktemp("mixed") / "agent.pt"
    torch.save(original.state_dict(), path)
    checkpoint = detect.load("a", _agent(path, "Mixed"))
    x = torch.randn(4, 3).to(getattr(torch, checkpoint.inputs[0].dtype))
    with torch.no_grad():
        got, wanted = checkpoint.module(x), copy.deepcopy(original)(x)
    assert torch.equal(got, wanted.to(got.dtype))


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({torch.float32: 9}, ("float32",)),
        ({torch.float64: 9}, ("float64",)),
        ({torch.float32: 9, torch.float64: 3}, ("float32", "float64")),
        ({torch.float16: 9}, ("float32", "float16")),
        ({torch.bfloat16: 9, torch.float32: 1}, ("float32", "bfloat16")),
        ({torch.int64: 9}, ("float32",)),
        ({}, ("float32",)),
    ],
)
def test_the_likeliest_dtype_is_tried_first(sizes: dict[torch.dtype, int], expected: tuple[str, ...]) -> None:
    assert dtypes.choices(torch.zeros(n, dtype=dtype) for dtype, n in sizes.items()) == expected
