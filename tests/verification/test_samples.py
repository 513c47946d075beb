"""Sample files, good and bad."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grandopt.errors import SamplesError
from grandopt.signature import Signature, TensorSpec
from grandopt.verification.samples import load_samples

ONE = Signature((TensorSpec("state", (3,)),))
TWO = Signature((TensorSpec("position", (2,)), TensorSpec("image", (4, 4), "uint8")))
ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "samples.npz"


@pytest.mark.parametrize("name", ["state", "obs.state", "obs", "anything"])
def test_the_array_is_found_by_its_name(path: Path, name: str) -> None:
    np.savez(path, **{name: ROWS})
    (array,) = load_samples(path, ONE)
    assert np.array_equal(array, ROWS)


def test_several_inputs_are_found_by_name_and_others_are_ignored(path: Path) -> None:
    position, image = np.ones((5, 2)), np.zeros((5, 4, 4), np.uint8)
    np.savez(path, **{"obs.position": position, "image": image, "action": np.zeros(5), "kind": "rollout"})
    arrays = load_samples(path, TWO)
    assert [array.dtype for array in arrays] == [np.float32, np.uint8]
    assert np.array_equal(arrays[0], position)


def test_float64_and_whole_numbers_convert_where_nothing_is_lost(path: Path) -> None:
    np.savez(path, position=np.ones((2, 2), np.int64), image=np.full((2, 4, 4), 255, np.int64))
    position, image = load_samples(path, TWO)
    assert position.dtype == np.float32
    assert image.max() == 255


def bad(**arrays: Any) -> dict[str, Any]:
    return arrays


@pytest.mark.parametrize(
    ("signature", "arrays", "message"),
    [
        (ONE, bad(state=np.zeros((4, 2))), r"expected shape \[N, 3\], got \[4, 2\]"),
        (ONE, bad(state=np.zeros(3)), r"expected shape \[N, 3\], got \[3\]"),
        (ONE, bad(state=np.zeros((0, 3))), "holds no samples"),
        (ONE, bad(state=np.zeros((2, 3), complex)), "expected dtype float32, got complex128"),
        (ONE, bad(state=np.array([["a", "b", "c"]])), "expected dtype float32"),
        (ONE, bad(state=np.full((2, 3), np.nan)), "2 of 2 samples hold NaN"),
        (ONE, bad(state=np.full((2, 3), 1e300)), "NaN or infinity"),
        (ONE, bad(other=ROWS, another=ROWS), "no samples for input 'state'.*found other, another"),
        (ONE, bad(), "found none"),
        (TWO, bad(position=np.zeros((4, 2))), "no samples for input 'image'"),
        (TWO, bad(position=np.zeros((4, 2)), image=np.zeros((3, 4, 4), np.uint8)), "position 4, image 3"),
        (TWO, bad(position=np.zeros((4, 2)), image=np.full((4, 4, 4), 256)), "do not fit the dtype uint8"),
        (TWO, bad(position=np.zeros((4, 2)), image=np.zeros((4, 4, 4))), "expected dtype uint8, got float64"),
    ],
)
def test_samples_that_do_not_fit_are_one_clear_line(
    path: Path, signature: Signature, arrays: dict[str, Any], message: str
) -> None:
    np.savez(path, **arrays)
    with pytest.raises(SamplesError, match=message) as caught:
        load_samples(path, signature)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pickled_objects_are_not_unpickled(path: Path, tmp_path: Path) -> None:
    trace = tmp_path / "ran"

    class Runs:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (trace,)

    np.savez(path, state=np.array([Runs()], dtype=object))
    with pytest.raises(SamplesError, match="refused"):
        load_samples(path, ONE)
    assert not trace.exists()


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut off", b"\x93NUMPY\x01", b"\x80\x04\x95"])
def test_files_that_are_no_archives_are_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(SamplesError, match=r"is not an \.npz file"):
        load_samples(path, ONE)


def test_a_truncated_archive_is_refused(path: Path) -> None:
    np.savez(path, state=ROWS)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(SamplesError, match=r"is not an \.npz file"):
        load_samples(path, ONE)


def test_a_damaged_member_is_refused(path: Path) -> None:
    np.savez(path, state=ROWS)
    content = bytearray(path.read_bytes())
    content[content.index(ROWS.tobytes()) + 5] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(SamplesError, match="cannot be read"):
        load_samples(path, ONE)


def test_a_single_array_a_folder_and_nothing_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", ROWS)
    with pytest.raises(SamplesError, match="single array"):
        load_samples(tmp_path / "one.npy", ONE)
    with pytest.raises(SamplesError, match="is a folder"):
        load_samples(tmp_path, ONE)
    with pytest.raises(SamplesError, match="no such file"):
        load_samples(tmp_path / "missing.npz", ONE)


def test_recorded_rollouts_of_real_agents_load(shared_checkpoints: Path) -> None:
    recorded = shared_checkpoints / "sb3" / "ppo-CartPole-v1.expected.npz"
    if not recorded.is_file():
        recorded = next((shared_checkpoints / "sb3").glob("ppo-*.expected.npz"))
    with np.load(recorded) as archive:
        shape = archive["obs"].shape
    (array,) = load_samples(recorded, Signature((TensorSpec("obs", shape[1:]),)))
    assert array.shape == shape
