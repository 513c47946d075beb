"""Statistics of observations that a user gives: read without unpickling, refused in one line."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grandopt.compiler.checkpoints.frameworks import statistics_file
from grandopt.errors import CheckpointError

MEAN, VAR = np.arange(3.0), np.arange(1.0, 4.0)


def _saved(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def test_mean_and_variance_with_what_else_is_there(tmp_path: Path) -> None:
    path = _saved(tmp_path / "s.npz", mean=MEAN, var=VAR.astype(np.float32)[None], count=9, clip=10.0)
    found = statistics_file.read(path, (3,))
    assert (found.mean.tolist(), found.var.tolist()) == (MEAN.tolist(), VAR.tolist())
    assert (found.epsilon, found.clip) == (None, 10.0)
    assert found.details()["statistics"]["path"] == str(path)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"mean": MEAN}, "has no array 'var' (it holds mean)"),
        ({"mean": MEAN, "var": VAR[:2]}, "must hold numbers of the observation's shape [3]"),
        ({"mean": MEAN, "var": np.array([1.0, np.nan, 1.0])}, "holds NaN or inf"),
        ({"mean": MEAN, "var": -VAR}, "holds a negative number"),
        ({"mean": MEAN, "var": np.array(["a", "b", "c"])}, "must hold numbers"),
        ({"mean": MEAN, "var": np.array([{}, {}, {}], dtype=object)}, "must hold numbers"),
        ({"mean": MEAN, "var": VAR, "epsilon": 0.0}, "'epsilon' must be a positive number, is 0"),
    ],
)
def test_what_is_no_statistics_is_refused(tmp_path: Path, arrays: dict[str, Any], words: str) -> None:
    path = _saved(tmp_path / "s.npz", **arrays)
    with pytest.raises(CheckpointError) as caught:
        statistics_file.read(path, (3,))
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_array_that_claims_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f8", "fortran_order": False, "shape": (3,)})
    path = tmp_path / "s.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("mean.npy", buffer.getvalue())
        file.writestr("var.npy", b"\x93NUMPY\x01\x00")
    with pytest.raises(CheckpointError, match="array 'mean' cannot be read"):
        statistics_file.read(path, (3,))


def test_no_npz_and_no_file(tmp_path: Path) -> None:
    (tmp_path / "s.npz").write_text("mean")
    with pytest.raises(CheckpointError, match=r"s\.npz: is no \.npz file; write one with numpy\.savez"):
        statistics_file.read(tmp_path / "s.npz", (3,))
    with pytest.raises(CheckpointError, match=r"t\.npz: no such file"):
        statistics_file.read(tmp_path / "t.npz", (3,))
