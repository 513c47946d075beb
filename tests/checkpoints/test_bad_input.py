"""Files that are no agents: each gets one clear line, and none of them runs anything."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from grandopt.compiler.checkpoints import detect
from grandopt.compiler.checkpoints.vetting.pickle_scan import scan
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError, UntrustedError
from tests.checkpoints import sb3_zips as zips
from tests.checkpoints.sb3_zips import Touch, Weights


def _load(path: Path) -> Any:
    fields = {"checkpoint": path, "network": "tests.agents:Actor", "inputs": [{"name": "x", "shape": [7]}]}
    return detect.load("agent", AgentConfig.model_validate(fields))


def _refused(path: Path, kind: type[CheckpointError] = CheckpointError) -> str:
    """The message, after checking that it is one line that begins with the path."""
    with pytest.raises(kind) as caught:
        detect.load("agent", AgentConfig(checkpoint=path))
    text = str(caught.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    return text


def _sb3(path: Path) -> Path:
    made = Weights().mlp("mlp_extractor.policy_net", 4, 8).layer("action_net", 2, 8)
    return zips.write_zip(path, zips.ON_POLICY, zips.box(-1, 1, (4,)), zips.discrete(2), made.tensors)


def test_missing_folder_empty_and_unknown_files(tmp_path: Path) -> None:
    assert "no such file" in _refused(tmp_path / "nowhere.pth")
    assert "is a folder" in _refused(tmp_path)
    (tmp_path / "empty.pth").write_bytes(b"")
    assert "is empty (0 bytes)" in _refused(tmp_path / "empty.pth")
    (tmp_path / "text.pth").write_text("these are not weights, really")
    assert "none of the formats known here" in _refused(tmp_path / "text.pth")


def test_zips_that_are_damaged_escape_or_hold_something_else(tmp_path: Path) -> None:
    whole = _sb3(tmp_path / "a.zip").read_bytes()
    for length in (10, len(whole) // 2, len(whole) - 30):
        (tmp_path / "cut.zip").write_bytes(whole[:length])
        assert "truncated or damaged" in _refused(tmp_path / "cut.zip")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "neither a torch file nor a Stable-Baselines3 agent" in _refused(tmp_path / "other.zip")
    for member in ("../x", "/etc/x", "a/../../x", "..\\x", "C:/x"):
        path = _sb3(tmp_path / "escape.zip")
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(member, "x")
        assert "leads out of the archive" in _refused(path)
    path = _sb3(tmp_path / "twice.zip")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("policy.pth", "x")
    assert "two members are named 'policy.pth'" in _refused(path)


@pytest.mark.parametrize(
    ("member", "data", "message"),
    [
        ("data", b"{not json", "member 'data' is no JSON text"),
        ("data", b"[1]", "member 'data' is no JSON object"),
        ("data", b"{}", "observation_space: is not in the zip's text"),
        ("policy.pth", b"garbage", "(policy.pth): is truncated or damaged"),
        ("policy.pth", b"", "is damaged or not a torch file"),
    ],
)
def test_zips_whose_members_are_damaged(tmp_path: Path, member: str, data: bytes, message: str) -> None:
    path = _sb3(tmp_path / "a.zip")
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**members, member: data}.items():
            archive.writestr(name, content)
    assert message in _refused(path)


def test_torch_files_and_safetensors_cut_anywhere(tmp_path: Path) -> None:
    state = {"weight": torch.zeros(40, 3), "bias": torch.ones(40)}
    torch.save(state, tmp_path / "new.pt")
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "s.safetensors")
    torch.jit.save(torch.jit.script(torch.nn.Linear(3, 2)), tmp_path / "script.pt")
    for name in ("new.pt", "old.pt", "s.safetensors", "script.pt"):
        data = (tmp_path / name).read_bytes()
        for length in [1, 8, 9, 20, *range(100, len(data) - 1, max(1, len(data) // 15))]:
            (tmp_path / "cut").write_bytes(data[:length])
            _refused(tmp_path / "cut")


def test_pickles_that_run_code_are_refused_and_nothing_ran(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    evil = {"weight": torch.zeros(2), "more": Touch(marker)}
    torch.save(evil, tmp_path / "new.pt")
    torch.save(evil, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Touch(marker)))
    (tmp_path / "protocol0.pkl").write_bytes(b"\x80\x02" + pickle.dumps(Touch(marker), protocol=0))
    for name in ("new.pt", "old.pt", "plain.pkl", "protocol0.pkl"):
        path = tmp_path / name
        text = _refused(path, UntrustedError)
        assert "pathlib" in text
        assert "--trust" in text
        assert detect.describe(path)["trusted"] is False
    assert not marker.exists()


def test_an_sb3_zip_whose_weights_run_code_is_refused_and_nothing_ran(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    path = _sb3(tmp_path / "a.zip")
    buffer = io.BytesIO()
    torch.save({"action_net.weight": torch.zeros(2, 4), "x": Touch(marker)}, buffer)
    with zipfile.ZipFile(path) as archive:
        data = archive.read("data")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data", data)
        archive.writestr("policy.pth", buffer.getvalue())
    assert "pathlib" in _refused(path, UntrustedError)
    assert not marker.exists()


def test_a_trusted_pickle_is_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    path = tmp_path / "m.pt"
    torch.save({"x": Touch(marker)}, path)
    with pytest.raises(CheckpointError, match="is a dict with the keys x"):
        detect.load("agent", AgentConfig(checkpoint=path, trust=True))
    assert marker.exists()


def test_a_trusted_pickle_that_breaks_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "m.pkl"
    path.write_bytes(b"\x80\x04cnowhere_to_be\nFound\n.")
    with pytest.raises(CheckpointError, match="cannot be unpickled: ModuleNotFoundError"):
        detect.load("agent", AgentConfig(checkpoint=path, trust=True))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.sampled_from([b"", b"PK\x03\x04", b"\x80\x04", b"\x80\x02}", b"\x10" + bytes(7) + b"{"]),
    rest=st.binary(max_size=80),
)
def test_random_bytes_are_refused(tmp_path: Path, start: bytes, rest: bytes) -> None:
    path = tmp_path / "random"
    path.write_bytes(start + rest)
    with pytest.raises(CheckpointError):
        _load(path)


def test_a_scan_names_what_a_pickle_would_import(tmp_path: Path) -> None:
    for protocol in range(6):
        found = scan(pickle.dumps([Touch(tmp_path), Touch(tmp_path)], protocol=protocol))
        assert found.complete
        assert any(name.startswith("pathlib.") for name in found.globals)
        assert len(set(found.globals)) == len(found.globals)
    assert scan(pickle.dumps({"a": [1, "b"]})).globals == ()
    assert not scan(pickle.dumps({"a": [1] * 50})[:-3]).complete
    computed = b"\x80\x04\x8c\x02os)\x93."
    assert scan(computed).globals == ("<computed>",)
