"""Weights that NumPy wrote are read as a state dict, and nothing in the file is unpickled."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from grandopt import limits
from grandopt.compiler.checkpoints import detect
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.checkpoints.weight_files import torch_file
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError, UntrustedError


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 2))


def arrays(prefix: str = "") -> dict[str, np.ndarray[Any, Any]]:
    return {f"{prefix}{key}": value.numpy() for key, value in network().state_dict().items()}


def opened(path: Path, **settings: Any) -> Checkpoint:
    return detect.load("a", AgentConfig(checkpoint=path, network="mlp:relu", **settings))


def assert_same(checkpoint: Checkpoint) -> None:
    x = torch.randn(4, 5)
    torch.testing.assert_close(checkpoint.module(x), network()(x))


@pytest.mark.parametrize("prefix", ["", "_orig_mod.", "module."])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path: Path, save: Any, prefix: str) -> None:
    path = tmp_path / "actor.npz"
    save(path, **arrays(prefix))
    checkpoint = opened(path)
    assert_same(checkpoint)
    assert checkpoint.source.format == "numpy"
    facts = detect.describe(path)
    assert (facts["format"], facts["state_dicts"][0]["key"]) == ("numpy", "")
    assert facts["state_dicts"][0]["spells"].startswith("Sequential(Linear(5, 8)")


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_of_arrays(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "actor.pkl"
    turned = {key: np.asfortranarray(value) for key, value in arrays().items()}
    content = {"policy": turned, "steps": np.int64(7), "spaces": ({"low": np.zeros(3, ">f8")}, [None])}
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    assert_same(opened(path, key="policy"))
    read = torch_file.read(path)
    assert int(read["steps"]) == 7
    assert read["spaces"][0]["low"].dtype == torch.float64


def test_a_dict_in_an_npy_file(tmp_path: Path) -> None:
    path = tmp_path / "actor.npy"
    np.save(path, arrays(), allow_pickle=True)  # type: ignore[arg-type]
    assert_same(opened(path))


@pytest.mark.parametrize("zipped", [True, False])
def test_arrays_among_the_tensors_of_a_torch_file(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "run.pth"
    shared = np.arange(3.0)
    content = {"ac": network().state_dict(), "obs": [shared, (shared, 1)], "best": np.float32(2.5)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    read = torch_file.read(path)
    assert read["obs"][0] is read["obs"][1][0]
    assert read["obs"][0].tolist() == [0.0, 1.0, 2.0]
    assert float(read["best"]) == 2.5
    assert_same(opened(path, key="ac"))


def test_half_precision(tmp_path: Path) -> None:
    path = tmp_path / "actor.npz"
    np.savez(path, **{key: value.astype(np.float16) for key, value in arrays().items()})  # type: ignore[arg-type]
    checkpoint = opened(path)
    x = torch.randn(4, 5).half()
    given = x.to(getattr(torch, checkpoint.inputs[0].dtype))
    torch.testing.assert_close(
        checkpoint.module(given).float(), network().half()(x).float(), rtol=1e-2, atol=1e-2
    )


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (eval, ("1/0",))


@pytest.mark.parametrize(
    "content", [{"w": np.zeros(3), "x": Evil()}, {"w": np.array([Evil()])}, {"w": np.array(["a"])}]
)
def test_objects_are_refused_and_nothing_runs(tmp_path: Path, content: dict[str, Any]) -> None:
    for name in ("a.pkl", "a.pth", "a.npz", "a.npy"):
        path = tmp_path / name
        match path.suffix:
            case ".pkl":
                path.write_bytes(pickle.dumps(content))
            case ".pth":
                torch.save({**content, "t": torch.zeros(1)}, path)
            case ".npz":
                np.savez(path, **{key: np.asarray(value) for key, value in content.items()})
            case _:
                np.save(path, content, allow_pickle=True)  # type: ignore[arg-type]
        with pytest.raises(CheckpointError) as caught:
            opened(path)
        assert "\n" not in str(caught.value)
        assert name in str(caught.value)


def test_a_single_array_has_no_name(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.zeros(3))
    with pytest.raises(CheckpointError, match="holds a single array, without a name"):
        opened(path)
    np.save(path, np.array([{"w": np.zeros(3)}], dtype=object))
    with pytest.raises(UntrustedError, match="holds objects that would have to be unpickled"):
        opened(path)


def test_arrays_that_share_their_bytes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One buffer under many names comes to more than its file; so it is counted before it is copied."""
    raw = b"\x80\x04]\x94(" + b"".join(_views(500))
    path = tmp_path / "a.pkl"
    path.write_bytes(raw + b"e.")
    assert len(torch_file.read(path)) == 500
    monkeypatch.setattr(limits, "INFLATED_BYTES", 1000)
    with pytest.raises(CheckpointError, match="its arrays come to more bytes than are read from"):
        torch_file.read(path)


def _views(count: int) -> Any:
    """Arrays of one buffer of 8,000 bytes, as opcodes: what NumPy itself never writes."""
    name = b"\x8c\x13numpy._core.numeric\x8c\x0b_frombuffer\x93\x94"  # memo 1
    kind = b"\x8c\x05numpy\x8c\x05dtype\x93\x8c\x02f8\x89\x88\x87R\x94"  # memo 2
    buffer = b"B" + (8000).to_bytes(4, "little") + bytes(8000) + b"\x94"  # memo 3
    yield name + b"0" + kind + b"0" + buffer + b"0"
    for _ in range(count):
        yield b"h\x01(h\x03h\x02K\x00M\xe8\x03\x85\x8c\x01CtR".replace(b"K\x00", b"")


def test_the_real_training_checkpoint_with_arrays(shared_policies: Path) -> None:
    path = shared_policies / "scg_ppo_cartpole_stab.pt"
    facts = detect.describe(path)
    assert "agent.ac" in [found["key"] for found in facts["state_dicts"]]
    checkpoint = detect.load(
        "a", AgentConfig(checkpoint=path, key="agent.ac.actor.pi_net", network="mlp:tanh")
    )
    assert [spec.shape for spec in checkpoint.inputs] == [(4,)]
