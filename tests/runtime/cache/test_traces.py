"""Policies on the traces that others publish figures on: hit ratios in % from the README of the traces."""

from __future__ import annotations

import gzip
import lzma
import struct
from functools import cache
from pathlib import Path

import pytest
import zstandard

from grandopt.errors import InputError
from grandopt.measurement.streams.traces import read_trace
from grandopt.runtime.cache.policies.adaptive import Adaptive
from grandopt.runtime.cache.policies.lru import LRU
from grandopt.runtime.cache.policies.replay import replay

slow = pytest.mark.slow
TABLE = [
    # trace, entries, LRU as published (with the digits that were), the least that adaptive must reach
    ("gli.trace.gz", 500, "0.95", 0.0),
    ("gli.trace.gz", 1000, "11.21", 50.5),
    ("multi1.trace.gz", 1000, "48.23", 0.0),
    ("cpp.trace.gz", 100, "69.71", 0.0),
    ("2_pools.trace.gz", 400, "49.15", 0.0),
    ("sprite.trace.gz", 500, "78.30", 0.0),
    pytest.param("loop.trace.gz", 512, "0.00", 0.0, marks=slow),
    pytest.param("OLTP.lis.zst", 1000, "32.8309", 40.0, marks=slow),
    pytest.param("OLTP.lis.zst", 5000, "53.65", 0.0, marks=slow),
    pytest.param("stress", 512, "11.64", 39.4, marks=slow),
]
"""`stress` is corda, then loop with every key k as -(k+1), then corda again: a workload that changes."""


@cache
def keys_of(folder: Path, name: str) -> list[int]:
    if name != "stress":
        return read_trace(folder / name)
    corda = read_trace(folder / "corda_vaultservice.gz")
    return corda + [-(key + 1) for key in read_trace(folder / "loop.trace.gz")] + corda


@pytest.mark.parametrize(("name", "entries", "published", "least"), TABLE)
def test_lru_is_exact_and_adaptive_follows(
    shared_traces: Path, name: str, entries: int, published: str, least: float
) -> None:
    keys = keys_of(shared_traces, name)
    lru = 100 * replay(LRU(), keys, entries) / len(keys)
    digits = len(published.partition(".")[2])
    assert f"{lru:.{digits}f}" == published
    adaptive = 100 * replay(Adaptive(), keys, entries) / len(keys)
    assert adaptive >= max(lru - 1.0, least)


def test_every_format_is_read(tmp_path: Path) -> None:
    (tmp_path / "lirs.trace.gz").write_bytes(gzip.compress(b"3\n\n*\n3\n17\n"))
    (tmp_path / "arc.lis.zst").write_bytes(zstandard.compress(b"10 3 0 1\n7 1 0 2\n"))
    (tmp_path / "ids.xz").write_bytes(lzma.compress(struct.pack(">4i", 5, 400_000_000, 6, 5)))
    (tmp_path / "hashes.gz").write_bytes(gzip.compress(struct.pack(">2q", -5, 1 << 60)))
    (tmp_path / "small").write_bytes(struct.pack(">3q", 1, 2, 1))
    assert read_trace(tmp_path / "lirs.trace.gz") == [3, 3, 17]
    assert read_trace(tmp_path / "arc.lis.zst") == [10, 11, 12, 7]
    assert read_trace(tmp_path / "ids.xz") == [5, 400_000_000, 6, 5]
    assert read_trace(tmp_path / "hashes.gz") == [-5, 1 << 60]
    assert read_trace(tmp_path / "small") == [1, 2, 1]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty", b"", "no trace"),
        ("torn", b"\x00\xff\x01", "neither text nor integers"),
        ("words", b"1 2\n", "line 1"),
        ("damaged.gz", b"not compressed", "cannot be read"),
        ("damaged.xz", b"not compressed", "cannot be read"),
        ("damaged.zst", b"not compressed", "cannot be read"),
    ],
)
def test_what_is_no_trace_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_trace(tmp_path / name)
    with pytest.raises(InputError, match="cannot be read"):
        read_trace(tmp_path / "absent")
