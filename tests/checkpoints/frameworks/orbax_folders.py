"""Folders as Orbax writes them, laid out here: Zarr 2 arrays as files, or in an OCDBT store."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zstandard

from grandopt.compiler.checkpoints.frameworks.brax import ocdbt
from grandopt.signature import Array

DATA = "d/0123456789abcdef"
UUID = bytes(range(16))
COMPRESSORS: dict[str | None, Callable[[bytes], bytes]] = {
    None: bytes, "zstd": zstandard.compress, "gzip": gzip.compress, "zlib": zlib.compress,
}  # fmt: skip


def zarr(arrays: Mapping[str, Array], *, compressor: str | None = "zstd") -> dict[str, bytes]:
    """Every array in one part, with its header."""
    found = {}
    for name, array in arrays.items():
        header = {
            "chunks": list(array.shape), "compressor": None if compressor is None else {"id": compressor},
            "dimension_separator": ".", "dtype": array.dtype.str, "fill_value": None, "filters": None,
            "order": "C", "shape": list(array.shape), "zarr_format": 2,
        }  # fmt: skip
        found[f"{name}/.zarray"] = json.dumps(header).encode()
        raw = np.ascontiguousarray(array).tobytes()
        part = ".".join("0" * array.ndim) or "0"
        found[f"{name}/{part}"] = COMPRESSORS[compressor](raw)
    return found


def varint(value: int) -> bytes:
    """A number, seven bits in each byte."""
    taken = bytearray()
    while value >= 0x80:
        taken.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*taken, value])


def varints(*values: int) -> bytes:
    """Numbers one behind the other."""
    return b"".join(map(varint, values))


def framed(magic: int, body: bytes, *, packed: bool) -> bytes:
    """A manifest or node: header, body and checksum."""
    inner = varints(0, 1) + zstandard.compress(body) if packed else varints(0, 0) + body
    length = 4 + 8 + len(inner) + 4
    whole = struct.pack(">I", magic) + struct.pack("<Q", length) + inner
    return whole + struct.pack("<I", ocdbt.crc32c(memoryview(whole)))


def table(*names: str) -> bytes:
    """A table of files, none of which shares a beginning with another."""
    sizes = [len(name) for name in names]
    shared = varints(*[0] * (len(names) - 1))
    return (
        varint(len(names)) + shared + varints(*sizes) + varints(*[0] * len(names)) + "".join(names).encode()
    )


def keyed(keys: list[str]) -> tuple[bytes, bytes]:
    """The lengths and the bytes of keys, none of which is shortened."""
    return varints(*[0] * (len(keys) - 1)) + varints(*map(len, keys)), "".join(keys).encode()


def leaf(values: Mapping[str, bytes], places: Mapping[str, tuple[int, int]]) -> bytes:
    """A leaf with some values in it, and others at offset and length in the file of data."""
    keys = sorted({*values, *places})
    lengths, text = keyed(keys)
    sizes = [places[key][1] if key in places else len(values[key]) for key in keys]
    kinds = [int(key in places) for key in keys]
    outside = [places[key] for key in keys if key in places]
    body = bytes([0]) + table(DATA) + varint(len(keys)) + lengths + text + varints(*sizes) + varints(*kinds)
    body += varints(*[0] * len(outside)) + varints(*(offset for offset, _ in outside))
    return body + b"".join(values[key] for key in keys if key not in places)


def interior(children: list[tuple[str, int, int]], height: int = 1) -> bytes:
    """A node above others, each given by its first key, its offset and its length in the file of data."""
    keys = [key for key, _, _ in children]
    lengths, text = keyed(keys)
    body = bytes([height]) + table(DATA) + varint(len(keys)) + lengths + varints(*[0] * len(keys)) + text
    body += varints(*[0] * len(keys)) + varints(*(offset for _, offset, _ in children))
    body += varints(*(length for _, _, length in children))
    return body + varints(*[1] * (3 * len(keys)))


def manifest(offset: int, length: int, *, height: int = 0, kind: int = 0, packed: bool = True) -> bytes:
    """The manifest of a store with one version."""
    body = UUID + varints(kind, 1024, 100_000_000) + bytes([4]) + varint(1) + struct.pack("<i", 0)
    body += table(DATA) + varints(1, 1) + bytes([height]) + varints(0, offset, length, 1, 1, 1)
    return framed(ocdbt.MANIFEST_MAGIC, body + struct.pack("<Q", 0) + varint(0), packed=packed)


def store(contents: Mapping[str, bytes], *, split: bool = False) -> dict[str, bytes]:
    """The files of an OCDBT store: long values beside the tree, short ones in it; `split` over two leaves."""
    data, places, values = b"", {}, {}
    for key, value in contents.items():
        if len(value) > 40:
            places[key] = (len(data), len(value))
            data += value
        else:
            values[key] = value
    keys = sorted(contents)
    parts = [keys[: len(keys) // 2], keys[len(keys) // 2 :]] if split else [keys]
    children = []
    for part in parts:
        body = leaf(
            {key: values[key] for key in part if key in values},
            {key: places[key] for key in part if key in places},
        )
        node = framed(ocdbt.NODE_MAGIC, body, packed=split)
        children.append((part[0], len(data), len(node)))
        data += node
    if split:
        node = framed(ocdbt.NODE_MAGIC, interior(children), packed=True)
        children = [("", len(data), len(node))]
        data += node
    _, offset, length = children[0]
    return {ocdbt.MANIFEST: manifest(offset, length, height=int(split)), DATA: data}


def written(contents: Mapping[str, bytes], folder: Path, **documents: Any) -> Path:
    """The folder with those files and these JSON documents, "_" in whose names stands for itself."""
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    for name, document in documents.items():
        (folder / f"{name}.json").write_text(json.dumps(document))
    return folder
