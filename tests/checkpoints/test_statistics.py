"""VecNormalize pickles: read without running anything, folded in as SB3 applies them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from grandopt.compiler.checkpoints import detect
from grandopt.compiler.checkpoints.sb3 import statistics
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError, UntrustedError
from grandopt.private import told_path
from tests.checkpoints import sb3_zips as zips
from tests.checkpoints.sb3_zips import Weights

MEAN, VAR = [1.0, -2.0, 0.5], [4.0, 0.25, 1e-3]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_statistics_are_read_from_every_pickle_protocol(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "v.pkl"
    if protocol == 2:  # writes the bytes of arrays as text to be encoded, which SB3's own default never did
        zips.write_statistics(path, (MEAN, VAR), protocol=2)
        with pytest.raises(UntrustedError, match=r"names _codecs\.encode"):
            statistics.read(path)
        return
    read = statistics.read(
        zips.write_statistics(path, (MEAN, VAR), protocol=protocol, clip_obs=np.float32(5.0))
    )
    assert read is not None
    np.testing.assert_array_equal(read.by_key[None].mean, MEAN)
    np.testing.assert_array_equal(read.by_key[None].var, VAR)
    assert (read.epsilon, read.clip) == (1e-8, 5.0)


def test_arrays_of_any_layout_and_byte_order_are_read(tmp_path: Path) -> None:
    mean = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    path = zips.write_statistics(tmp_path / "v.pkl", (mean, np.ones((2, 3))))
    read = statistics.read(path)
    assert read is not None
    np.testing.assert_array_equal(read.by_key[None].mean, mean)


def test_observations_that_are_not_normalised_need_no_statistics(tmp_path: Path) -> None:
    assert statistics.read(zips.write_statistics(tmp_path / "v.pkl", (MEAN, VAR), norm_obs=False)) is None


def _zip(folder: Path, observation: dict[str, Any], features: int = 3) -> Path:
    made = Weights().layer("action_net", 2, features)
    action = zips.box(-9, 9, (2,))
    return zips.write_zip(folder / "agent.zip", zips.ON_POLICY, observation, action, made.tensors)


@pytest.mark.parametrize("name", ["agent.vecnormalize.pkl", "vecnormalize.pkl"])
def test_a_pickle_beside_the_zip_is_found(tmp_path: Path, name: str) -> None:
    path = _zip(tmp_path, zips.box(-np.inf, np.inf, (3,)))
    plain = detect.load("a", AgentConfig(checkpoint=path))
    zips.write_statistics(tmp_path / name, (MEAN, VAR), clip_obs=1.5)
    folded = detect.load("a", AgentConfig(checkpoint=path))
    raw = np.random.default_rng(0).normal(0, 2, (64, 3))
    normalised = np.clip((raw - MEAN) / np.sqrt(np.add(VAR, 1e-8)), -1.5, 1.5)
    assert (np.abs(normalised) == 1.5).any()
    got = folded.module(torch.from_numpy(raw).float())
    torch.testing.assert_close(got, plain.module(torch.from_numpy(normalised).float()), rtol=1e-5, atol=1e-4)
    assert (folded.contract.normalised, folded.contract.clip_obs) == (True, 1.5)
    assert folded.source.details["vecnormalize"]["path"] == told_path(tmp_path / name)
    assert not detect.load("a", AgentConfig(checkpoint=path, vecnormalize="none")).contract.normalised


def test_only_the_named_keys_of_a_dict_are_normalised(tmp_path: Path) -> None:
    text = "{'a': Box(-inf, inf, (2,), float32), 'b': Box(-inf, inf, (1,), float32)}"
    path = _zip(tmp_path, zips.dictionary(text))
    moments = {"a": ([1.0, 2.0], [4.0, 9.0]), "b": ([5.0], [1.0])}
    file = zips.write_statistics(tmp_path / "other.pkl", moments, norm_obs_keys=["a"])
    plain = detect.load("a", AgentConfig(checkpoint=path))
    folded = detect.load("a", AgentConfig(checkpoint=path, vecnormalize=file))
    a, b = torch.tensor([[3.0, 5.0], [1.0, 2.0]]), torch.tensor([[7.0], [-7.0]])
    wanted = plain.module(torch.tensor([[1.0, 1.0], [0.0, 0.0]]), b)
    torch.testing.assert_close(folded.module(a, b), wanted)


@pytest.mark.parametrize(
    ("moments", "message"),
    [
        (([0.0] * 6, [1.0] * 6), r"of shape \[6\], the agent's observation is \[3\] \(stacked frames\?\)"),
        ({"a": (MEAN, VAR)}, "holds statistics of key 'a', which this agent does not observe"),
        ((MEAN, [1.0, -1.0, 1.0]), "are no statistics"),
        ((MEAN, [1.0, np.nan, 1.0]), "are no statistics"),
    ],
)
def test_statistics_that_do_not_fit_are_refused(tmp_path: Path, moments: Any, message: str) -> None:
    path = _zip(tmp_path, zips.box(-1, 1, (3,)))
    zips.write_statistics(tmp_path / "vecnormalize.pkl", moments)
    with pytest.raises(CheckpointError, match=message):
        detect.load("a", AgentConfig(checkpoint=path))


def test_a_pickle_that_runs_code_is_refused_and_nothing_ran(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    path = zips.write_statistics(tmp_path / "v.pkl", (MEAN, VAR), gamma=zips.Touch(marker))
    with pytest.raises(UntrustedError, match=r"names pathlib.*which no VecNormalize pickle needs"):
        statistics.read(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    "text",
    [
        b"cbuiltins\neval\n(S'1+1'\ntR.",
        b"cos\nsystem\n(S'true'\ntR.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"cnumpy.core.multiarray\nfromfile\n(S'x'\ntR.",
        b"cstable_baselines3.common.vec_env.vec_normalize\nos.system\n(S'x'\ntR.",
        b"cgym.spaces_evil\nBox\n.",
    ],
)
def test_other_globals_are_refused_by_name(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "v.pkl"
    path.write_bytes(text)
    module, name = text[1:].split(b"\n")[:2]
    with pytest.raises(UntrustedError, match=f"{module.decode()}.{name.decode()}"):
        statistics.read(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "damaged VecNormalize pickle"),
        (b"hello", "damaged VecNormalize pickle"),
        (pickle.dumps({"obs_rms": 1}), "holds no VecNormalize object"),
        (pickle.dumps({"obs_rms": [1] * 9})[:-5], "damaged VecNormalize pickle"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "v.pkl"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=message):
        statistics.read(path)


@pytest.mark.parametrize(
    "attributes",
    [{"clip_obs": "10"}, {"epsilon": None}, {"clip_obs": float("nan")}, {"clip_obs": 0.0}],
)
def test_settings_that_are_no_numbers_are_refused(tmp_path: Path, attributes: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match=r"epsilon|clip_obs"):
        statistics.read(zips.write_statistics(tmp_path / "v.pkl", (MEAN, VAR), **attributes))


def test_a_truncated_pickle_is_refused_at_every_length(tmp_path: Path) -> None:
    path = zips.write_statistics(tmp_path / "v.pkl", (MEAN, VAR))
    data = path.read_bytes()
    for length in range(0, len(data), 41):
        path.write_bytes(data[:length])
        with pytest.raises(CheckpointError):
            statistics.read(path)
