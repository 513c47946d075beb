"""Small files that would take hours or gigabytes: each limit is met before the work that it bounds."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from grandopt.compiler.checkpoints import detect
from grandopt.compiler.checkpoints.sb3 import spaces, statistics
from grandopt.compiler.checkpoints.vetting.pickle_scan import scan
from grandopt.compiler.checkpoints.weight_files import state_dict
from grandopt.config.load import load_file
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError, ConfigError, GrandoptError
from grandopt.measurement.streams.traces import read_trace
from grandopt.reporting.gate.baseline import load_baseline
from grandopt.reporting.history import store
from grandopt.reporting.report import load_report
from grandopt.signature import Signature, TensorSpec
from grandopt.verification.samples import load_samples

SIGNATURE = Signature((TensorSpec("x", (3,), "float32"),))
READERS: tuple[Callable[[Path], Any], ...] = (
    detect.describe, load_file, load_report, store.read, statistics.read, read_trace,
    lambda path: load_samples(path, SIGNATURE), lambda path: detect.load("a", AgentConfig(checkpoint=path)),
    lambda path: load_baseline(path.parent / path.name),
)  # fmt: skip


def _nested(levels: int) -> list[Any]:
    nested: list[Any] = [1]
    for _ in range(levels):
        nested = [nested, nested]
    return nested


def test_lists_that_share_their_members_are_walked_once(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    weights = {"w": torch.zeros(2, 2)}
    torch.save({"junk": _nested(40), "net": weights, "again": [weights, _nested(40)]}, path)
    assert path.stat().st_size < 20_000
    assert [item["key"] for item in detect.describe(path)["state_dicts"]] == ["net"]
    torch.save({"junk": _nested(150)}, path)
    with pytest.raises(CheckpointError, match="more than 100 levels deep"):
        detect.describe(path)


def test_tuples_that_repeat_themselves_are_not_hashed() -> None:
    nested: Any = (1,)
    for _ in range(40):
        nested = (nested, nested)
    assert "repeat one another" in str(scan(pickle.dumps([nested])).greedy)
    assert "numbers its values" in str(scan(b"\x80\x02Kdr" + struct.pack("<I", 1 << 30) + b".").greedy)
    assert "bytearray" in str(scan(pickle.dumps(bytearray(4), protocol=2)).greedy)


@pytest.mark.parametrize("folder", ["archive", "x"])
def test_a_member_that_inflates_to_gigabytes_is_not_inflated(tmp_path: Path, folder: str) -> None:
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{folder}/data.pkl", pickle.dumps({}))
        with archive.open(f"{folder}/data/0", "w") as member:
            for _ in range(100):
                member.write(bytes(1 << 20))
    with pytest.raises(CheckpointError, match=r"come to 104,857,\d+ bytes; .* at most 67,108,864"):
        detect.describe(path)


def test_a_tensor_larger_than_its_storage_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "wide.pth"
    torch.save({"w": torch.zeros(1).expand(50_000, 50_000)}, path)
    with pytest.raises(CheckpointError, match="claim 9,999,999,996 bytes more"):
        detect.describe(path)
    shared = torch.zeros(2000, 1000)
    torch.save(OrderedDict((f"w{i}", shared) for i in range(40)), path)
    with pytest.raises(CheckpointError, match="each name counted"):
        detect.describe(path)
    torch.save({"mask": torch.zeros(1).expand(64, 64), "w": torch.zeros(4, 4)}, path)
    assert detect.describe(path)["parameters"] == 64 * 64 + 16


@pytest.mark.parametrize(
    ("made", "named"),
    [
        (lambda: torch.eye(3).to_sparse(), "is sparse_coo"),
        (lambda: torch.quantize_per_tensor(torch.eye(3), 0.1, 0, torch.qint8), "is quantized"),
        (lambda: torch.eye(3).to(torch.float8_e4m3fn), "dtype float8_e4m3fn"),
        (lambda: torch.empty(3, device="meta"), "device meta"),
    ],
)
def test_tensors_that_are_no_plain_numbers_are_named(
    tmp_path: Path, made: Callable[[], torch.Tensor], named: str
) -> None:
    path = tmp_path / "odd.pth"
    torch.save({"w": made()}, path)
    detect.describe(path)
    with pytest.raises(CheckpointError, match=f"tensor 'w' .*{named}"):
        state_dict.load("a", AgentConfig(checkpoint=path))


@pytest.mark.parametrize(
    "space",
    [
        {":type:": "<class 'gymnasium.spaces.discrete.Discrete'>", "n": 10**9},
        {":type:": "<class 'gymnasium.spaces.discrete.Discrete'>", "n": "9" * 5000},
        {":type:": "<class 'gymnasium.spaces.box.Box'>", "_shape": [10**9], "dtype": "float32"},
        {":type:": "<class 'gymnasium.spaces.box.Box'>", "_shape": [10**5, 10**5], "low": "0", "high": "1"},
        {":type:": "<class 'gymnasium.spaces.multi_binary.MultiBinary'>", "n": "9" * 5000},
        {":type:": "<class 'gymnasium.spaces.multi_discrete.MultiDiscrete'>", "nvec": "[60000 60000]"},
        {":type:": "a." * 10**5, "n": 2},
    ],
)
def test_a_space_of_a_milliard_is_refused(space: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError):
        spaces.parse(space, "space")


def _aliases(names: str) -> str:
    """Nine times the line before, line by line."""
    lines = [f"{names[0]}: &{names[0]} [1, 1]"]
    for before, name in pairwise(names):
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (_aliases("abcdefghij"), "with its aliases"),
        ("a: &a [*a]", "contains itself"),
        ("a: " + "[" * 150 + "]" * 150, "levels deep"),
        ("a: " + "[" * 9000, "levels deep|not valid YAML"),
        ("seed: " + "9" * 5000, "not valid YAML"),
        ("seed: 2001-99-99", "not valid YAML"),
        ("seed: 2001-01-01", "seed"),
        ("x" * (2 << 20), "2,097,152 bytes, and at most 1,048,576"),
    ],
)  # fmt: skip
def test_settings_that_unfold_are_refused(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "grandopt.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=named):
        load_file(path)


def test_samples_are_as_large_as_they_say(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((4, 3), np.float32))
    data = buffer.getvalue().replace(b"(4, 3), }      ", b"(4000000000, 3)")
    for content in (data, b"no array", data[:40]):
        with zipfile.ZipFile(tmp_path / "s.npz", "w") as archive:
            archive.writestr("x.npy", content)
        with pytest.raises(GrandoptError, match="array 'x' cannot be read"):
            load_samples(tmp_path / "s.npz", SIGNATURE)


def _odd_paths(folder: Path) -> tuple[Path, ...]:
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    long = Path("x" * 5000)
    return (
        pipe,
        folder,
        folder / "nowhere",
        Path("/dev/zero"),
        long,
        folder / "a\0b",
        Path("d/" * 2500) / "x",
    )


@pytest.mark.parametrize("read", READERS)
def test_only_files_are_read(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    for path in _odd_paths(tmp_path):
        with pytest.raises(GrandoptError) as caught:
            read(path)
        text = str(caught.value)
        assert len(text) < 1000
        assert len(text.splitlines()) == 1
