"""The arrays in a folder of Orbax: its store, and what is refused of a hostile one."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import zstandard

from grandopt import limits
from grandopt.compiler.checkpoints.frameworks.brax import ocdbt
from grandopt.compiler.checkpoints.frameworks.brax.arrays import Arrays
from grandopt.errors import CheckpointError
from grandopt.signature import Array
from tests.checkpoints.frameworks import orbax_folders as orbax

WHERE = "agents/000123"
HELD: dict[str, Array] = {
    "0.mean": np.arange(5, dtype="float32"),
    "1.params.hidden_0.bias": np.zeros(3, "float32"),
    "1.params.hidden_0.kernel": np.arange(150, dtype="float32").reshape(50, 3),
    "count": np.array(7, "uint32"),
}


def refused(contents: dict[str, bytes], name: str = "0.mean") -> str:
    with pytest.raises(CheckpointError) as caught:
        Arrays(contents, WHERE).array(name)
    said = str(caught.value)
    assert said.startswith(WHERE)
    assert "\n" not in said
    return said


@pytest.mark.parametrize("layout", ["files", "store", "two leaves"])
@pytest.mark.parametrize("compressor", ["zstd", "gzip", "zlib", None])
def test_every_array_is_what_was_written(layout: str, compressor: str | None) -> None:
    contents = orbax.zarr(HELD, compressor=compressor)
    if layout != "files":
        contents = orbax.store(contents, split=layout == "two leaves")
    found = Arrays(contents, WHERE)
    assert set(found.names) == set(HELD)
    for name, array in HELD.items():
        np.testing.assert_array_equal(found.array(name), array)
        assert found.array(name).dtype == array.dtype


def test_an_array_in_parts_is_joined_and_cut_at_its_end() -> None:
    whole = np.arange(35, dtype="<f4").reshape(5, 7)
    padded = np.zeros((6, 8), "<f4")
    padded[:5, :7] = whole
    header = json.loads(orbax.zarr({"a": whole})["a/.zarray"]) | {"chunks": [3, 4]}
    contents = {"a/.zarray": json.dumps(header).encode()}
    for row in range(2):
        for column in range(2):
            part = padded[row * 3 : row * 3 + 3, column * 4 : column * 4 + 4]
            contents[f"a/{row}.{column}"] = zstandard.compress(np.ascontiguousarray(part).tobytes())
    np.testing.assert_array_equal(Arrays(contents, WHERE).array("a"), whole)
    del contents["a/1.0"]
    assert "its part 1.0 is missing" in refused(contents, "a")


def test_bfloat16_is_widened() -> None:
    bits = np.array([0x3F80, 0xC040], "<u2")
    contents = orbax.zarr({"a": bits})
    contents["a/.zarray"] = contents["a/.zarray"].replace(b'"<u2"', b'"bfloat16"')
    np.testing.assert_array_equal(Arrays(contents, WHERE).array("a"), np.array([1.0, -3.0], "float32"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shape": [1 << 30], "chunks": [1 << 30]}, "it has [1073741824] numbers in parts"),
        ({"shape": [1 << 50]}, "its shape is [1125899906842624]"),
        ({"shape": [-1]}, "its shape is [-1]"),
        ({"shape": [True]}, "its shape is [True]"),
        ({"chunks": [0]}, "its chunks is [0]"),
        ({"shape": [1 << 38], "chunks": [1]}, "in parts of [1]"),
        ({"shape": [5, 5]}, "its layout is not known here"),
        ({"dtype": "|O"}, "it is of '|O', none of"),
        ({"dtype": ["<f4"]}, "it is of ['<f4'], none of"),
        ({"compressor": {"id": "blosc"}}, "its layout is not known here"),
        ({"filters": [{"id": "pickle"}]}, "its layout is not known here"),
        ({"order": "F"}, "its layout is not known here"),
        ({"zarr_format": 3}, "its layout is not known here"),
    ],
)
def test_a_header_that_is_none_or_beyond_the_limits_is_one_line(
    change: dict[str, object], words: str
) -> None:
    contents = orbax.zarr(HELD)
    header = json.loads(contents["0.mean/.zarray"]) | change
    contents["0.mean/.zarray"] = json.dumps(header).encode()
    assert words in refused(contents)


def test_what_inflates_beyond_its_size_is_not_read() -> None:
    contents = orbax.zarr(HELD)
    contents["0.mean/0"] = zstandard.compress(bytes(1 << 28))
    assert "inflates to more than 20 bytes" in refused(contents)
    contents["0.mean/0"] = zstandard.compress(bytes(8))
    assert "a part of it has 8 bytes, not 20" in refused(contents)


def test_zarr_3_is_named() -> None:
    assert "holds arrays in Zarr 3" in refused({"a/zarr.json": b"{}"})
    assert "holds no arrays that Orbax wrote" in refused({"a": b""})


def test_a_node_that_inflates_without_end_is_not_read() -> None:
    contents = orbax.store(orbax.zarr(HELD))
    bomb = orbax.framed(ocdbt.NODE_MAGIC, bytes(1 << 28), packed=True)
    contents |= {ocdbt.MANIFEST: orbax.manifest(0, len(bomb)), orbax.DATA: bomb}
    assert "inflates to more than" in refused(contents)


def test_a_tree_that_leads_to_the_same_nodes_again_and_again_ends() -> None:
    data = orbax.framed(ocdbt.NODE_MAGIC, orbax.leaf({"a/.zarray": b"{}"}, {}), packed=False)
    place = (0, len(data))
    for height in range(1, 40):
        body = orbax.interior([("a", *place)] * 64, height)
        node = orbax.framed(ocdbt.NODE_MAGIC, body, packed=True)
        place = (len(data), len(node))
        data += node
    contents = {ocdbt.MANIFEST: orbax.manifest(*place, height=39), orbax.DATA: data}
    said = refused(contents)
    assert f"more than {limits.MEMBERS:,} entries" in said or "comes to more than" in said


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (ocdbt.MANIFEST, b"", "does not begin like one of its files"),
        (ocdbt.MANIFEST, orbax.manifest(0, 10, kind=1), "its manifest is of kind 1"),
        (ocdbt.MANIFEST, orbax.manifest(0, 1 << 60), "ends before byte"),
        (orbax.DATA, None, "is missing from the folder"),
    ],
)
def test_a_store_that_lacks_something_is_one_line(name: str, content: bytes | None, words: str) -> None:
    contents = orbax.store(orbax.zarr(HELD))
    if content is None:
        del contents[name]
    else:
        contents[name] = content
    assert words in refused(contents)


def test_a_damaged_store_is_refused_or_read_as_it_was() -> None:
    """Every byte of the manifest and of the nodes is under a checksum; those of the values are not."""
    whole = orbax.store(orbax.zarr(HELD), split=True)
    rng = random.Random(0)
    for _ in range(300):
        name = rng.choice(list(whole))
        damaged = bytearray(whole[name])
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        if rng.random() < 0.2:
            del damaged[rng.randrange(len(damaged)) :]
        said = _said({**whole, name: bytes(damaged)})
        assert said == WHOLE or said.startswith(WHERE)
        assert "\n" not in said


WHOLE = str({name: array.shape for name, array in sorted(HELD.items())})


def _said(contents: dict[str, bytes]) -> str:
    """The shapes of all arrays, or what is said of them."""
    try:
        found = Arrays(contents, WHERE)
        return str({name: found.array(name).shape for name in sorted(found.names)})
    except CheckpointError as error:
        return str(error)


def test_the_checksum_is_castagnoli_s() -> None:
    assert ocdbt.crc32c(memoryview(b"123456789")) == 0xE3069283  # the check value of CRC-32C


def test_nothing_outside_of_the_folder_is_named(tmp_path: Path) -> None:
    """A table of files may name any: only those that were read from the folder exist for it."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"x" * 100)
    data = orbax.framed(ocdbt.NODE_MAGIC, orbax.leaf({}, {"a/.zarray": (0, 100)}), packed=False)
    away = data.replace(orbax.DATA.encode(), str(secret)[: len(orbax.DATA)].encode())
    inner = away[:-4]
    away = inner + ocdbt.CHECKSUM.pack(ocdbt.crc32c(memoryview(inner)))
    contents = {ocdbt.MANIFEST: orbax.manifest(0, len(away)), orbax.DATA: away}
    assert "is missing from the folder" in refused(contents)
