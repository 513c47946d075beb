"""The machine's limit: how an agent's follows from given speeds."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grandopt.config.engine import PRECISIONS
from grandopt.measurement.caches import MEMORY, Place, filling, places
from grandopt.measurement.limit import CacheSpeed, MachineLimit, blas_limit, cache_speeds
from grandopt.measurement.wire.kernels import KernelSpeeds, Peak, ReadSpeed

PEAKS = (
    Peak("float32", "plain", 50.0),
    Peak("float32", "wide", 100.0),
    Peak("bfloat16", "wide", 80.0),
    Peak("int8", "wide", 400.0),
)
CACHES = (
    CacheSpeed("L1", 1000, 100.0, "wide"),
    CacheSpeed("L2", 10_000, 50.0, "wide"),
    CacheSpeed(MEMORY, None, 10.0, "wide"),
)
LIMIT = MachineLimit(CACHES, PEAKS)

sizes = st.integers(0, 10**8)
operations = st.floats(0, 1e12)
precisions = st.sampled_from(PRECISIONS)
speeds = st.floats(0.1, 1e4)


@st.composite
def machines(draw: st.DrawFn) -> MachineLimit:
    """Speeds in any order: a limit that holds must not depend on nearer caches being the faster ones."""
    rising = sorted(draw(st.lists(st.integers(1, 10**7), min_size=0, max_size=3, unique=True)))
    caches = [CacheSpeed(f"L{n}", size, draw(speeds), "any") for n, size in enumerate(rising, 1)]
    peaks = [Peak(name, "any", draw(speeds)) for name in ("float32", "bfloat16", "int8")]
    return MachineLimit((*caches, CacheSpeed(MEMORY, None, draw(speeds), "any")), tuple(peaks))


@pytest.mark.parametrize(
    ("weights", "us", "cache"),
    [
        (250, 0.01, "L1"),
        (1250, 0.01 + 4000 / 50e3, "L2"),  # what L1 cannot hold comes from L2
        (25_000, 0.01 + 9000 / 50e3 + 90_000 / 10e3, MEMORY),
    ],
)
def test_weights_are_read_from_the_caches_that_hold_them(weights: int, us: float, cache: str) -> None:
    found = LIMIT.agent(weights, 4 * weights, 0, "float32")
    assert found.us == pytest.approx(us)
    assert (found.bound, found.cache, found.instructions) == ("reading", cache, "wide")
    assert found.speed == pytest.approx(4 * weights / us / 1e3)


def test_the_larger_of_reading_and_arithmetic_counts() -> None:
    found = LIMIT.agent(250, 1000, 100_000, "float32")
    assert (found.us, found.bound, found.cache) == (pytest.approx(1.0), "arithmetic", None)
    assert (found.speed, found.instructions) == (100.0, "wide")
    assert LIMIT.agent(250, 1000, 999, "float32").bound == "reading"


@pytest.mark.parametrize(
    ("precision", "us"),
    # Widened bfloat16 is no slower than float32: a weight that is widened once may be used several times.
    [("float32", 1.0), ("bfloat16", 1.0), ("int8_dynamic", 0.25), ("int8_static", 0.25)],
)
def test_arithmetic_is_that_of_the_precision(precision: str, us: float) -> None:
    assert LIMIT.agent(0, 0, 100_000, precision).us == pytest.approx(us)


@pytest.mark.parametrize(("precision", "width"), [("float32", 4), ("bfloat16", 2), ("int8_dynamic", 1)])
def test_weights_are_of_the_precision(precision: str, width: int) -> None:
    assert LIMIT.agent(250, 1000, 0, precision).us == pytest.approx(width * 250 / 100e3)
    assert LIMIT.agent(250, 500, 0, precision).us <= 500 / 100e3  # they came as half-precision


def test_threads_share_the_work() -> None:
    found = LIMIT.agent(2 * 250, 2 * 1000, 0, "float32", threads=2)
    assert (found.us, found.cache, found.threads) == (pytest.approx(0.01), "L1", 2)
    assert found.speed == pytest.approx(200.0)
    assert LIMIT.agent(0, 0, 100_000, "float32", threads=2).us == pytest.approx(0.5)


@given(machines(), sizes, sizes, operations, operations, precisions, st.integers(1, 8))
def test_a_limit_rises_with_bytes_and_operations(
    machine: MachineLimit, weights: int, more: int, flop: float, harder: float, precision: str, threads: int
) -> None:
    at = machine.agent(weights, 4 * weights, flop, precision, threads).us
    assert machine.agent(weights + more, 4 * (weights + more), flop + harder, precision, threads).us >= at
    assert machine.agent(weights, 4 * weights, flop, precision, threads + 1).us <= at
    assert at <= machine.agent(weights, 4 * weights, flop, "float32", threads).us


@given(st.lists(speeds, min_size=3, max_size=3))
def test_a_nearer_cache_is_no_slower(measured: list[float]) -> None:
    found = [Place("L1", 32, 16), Place("L2", 512, 256), Place(MEMORY, None, 4096)]
    reading = tuple(ReadSpeed(p.working_set, "any", gb_s) for p, gb_s in zip(found, measured, strict=True))
    given_ = [item.gb_s for item in cache_speeds(found, KernelSpeeds((), reading))]
    assert given_ == sorted(given_, reverse=True)
    assert given_[-1] == measured[-1]
    assert given_[0] == max(measured)


def _listed(folder: Path, *caches: tuple[str, str, str]) -> Path:
    for number, values in enumerate(caches):
        (folder / f"index{number}").mkdir()
        for name, value in zip(("level", "type", "size"), values, strict=True):
            (folder / f"index{number}" / name).write_text(f"{value}\n", encoding="ascii")
    return folder


def test_the_caches_are_those_that_the_kernel_lists(tmp_path: Path) -> None:
    caches = [
        ("1", "Data", "48K"),
        ("1", "Instruction", "32K"),
        ("2", "Unified", "2048K"),
        ("3", "Unified", "96M"),
    ]
    found = places(_listed(tmp_path, *caches))
    assert [(place.name, place.size) for place in found] == [
        ("L1", 48 << 10),
        ("L2", 2 << 20),
        ("L3", 96 << 20),
        (MEMORY, None),
    ]
    assert [place.working_set for place in found] == [16 << 10, 256 << 10, 16 << 20, 256 << 20]
    assert filling(tmp_path) == 4 * (2 << 20), "four times what a core has for itself"


@pytest.mark.parametrize("size", ["", "many", "-"])
def test_caches_that_are_not_told_are_probed(tmp_path: Path, size: str) -> None:
    for found in (places(tmp_path), places(_listed(tmp_path, ("1", "Data", size))), places(None)):
        *inner, memory = found
        assert [place.size for place in inner] == [place.working_set for place in inner]
        assert inner[0].name == "16 KiB"
        assert memory == Place(MEMORY, None, 64 << 20)
    assert filling(tmp_path) == 4 << 20


@given(st.lists(st.integers(1, 1 << 20), min_size=1, max_size=4, unique=True))
def test_working_sets_are_powers_of_two_that_rise(kib: list[int]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        caches = [(str(n), "Unified", f"{size}K") for n, size in enumerate(sorted(kib), 1)]
        found = places(_listed(Path(name), *caches))
    sets = [place.working_set for place in found]
    assert all(size & (size - 1) == 0 for size in sets)
    assert all(p.size is None or p.working_set < p.size for p in found)


def test_without_a_compiler_the_limit_is_blas_by_name() -> None:
    found = blas_limit()
    assert found.source == "float32 BLAS"
    assert all(cache.gb_s > 0 for cache in found.caches)
    limit = found.agent(10_000, 40_000, 20_000, "int8_dynamic")
    assert limit.source == "float32 BLAS"
    assert limit.us > 0
    assert limit.instructions == "numpy's BLAS"
