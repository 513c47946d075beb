"""Regions of clients' shared memory, with real segments."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import pytest

from grandopt.serving.protocol.errors import Code, ProtocolError
from grandopt.serving.protocol.messages import Region
from grandopt.serving.shared_memory.regions import SharedRegions
from grandopt.serving.shared_memory.segment import path_of


@pytest.fixture
def segment() -> Iterator[SharedMemory]:
    made = SharedMemory(create=True, size=4096)
    yield made
    made.close()
    made.unlink()


@pytest.fixture
def regions() -> Iterator[SharedRegions]:
    made = SharedRegions(max_regions=3, max_total_bytes=10_000)
    yield made
    made.close()


def test_what_is_registered_is_read_and_written_in_place(
    segment: SharedMemory, regions: SharedRegions
) -> None:
    regions.register("frames", f"/{segment.name}", 1024, 2048)
    segment.buf[1034:1038] = b"abcd"
    assert regions.read(Region("frames", 4, 10)) == b"abcd"
    regions.write(Region("frames", 100, 2000 - 52), b"wxyz")
    assert bytes(segment.buf[2972:2976]) == b"wxyz"
    assert regions.status() == [
        {"name": "frames", "key": f"/{segment.name}", "offset": 1024, "byte_size": 2048}
    ]


def test_status_is_of_one_or_of_all_and_unregistering_too(
    segment: SharedMemory, regions: SharedRegions
) -> None:
    regions.register("one", segment.name, 0, 8)
    regions.register("two", segment.name, 8, 8)
    assert [one["name"] for one in regions.status()] == ["one", "two"]
    assert [one["name"] for one in regions.status("two")] == ["two"]
    regions.unregister("one")
    regions.unregister("nobody")
    assert [one["name"] for one in regions.status()] == ["two"]
    regions.unregister()
    assert regions.status() == []


@pytest.mark.parametrize(
    ("region", "words"),
    [
        (Region("frames", 9, 0), "has 8 bytes; 9 from 0"),
        (Region("frames", 1, 8), "has 8 bytes; 1 from 8"),
        (Region("frames", 1, -1), "1 from -1"),
        (Region("frames", 8, 2**64), "are not in it"),
        (Region("frames", 2**64, 2**64), "are not in it"),
        (Region("nobody", 1, 0), "'nobody' is not registered"),
    ],
)
def test_nothing_outside_a_region_is_reached(
    segment: SharedMemory, regions: SharedRegions, region: Region, words: str
) -> None:
    regions.register("frames", segment.name, 0, 8)
    with pytest.raises(ProtocolError, match=words):
        regions.read(region)
    with pytest.raises(ProtocolError, match=words):
        regions.write(region, b"")


@pytest.mark.parametrize(
    ("offset", "byte_size", "words"),
    [
        (0, 4097, "has 4096 bytes; 4097 from 0"),
        (4096, 1, "1 from 4096"),
        (2**64 - 1, 2, "are not in it"),
        (-1, 8, "wanted at least 0 and 1"),
        (0, 0, "wanted at least 0 and 1"),
    ],
)
def test_a_region_lies_inside_its_segment(
    segment: SharedMemory, regions: SharedRegions, offset: int, byte_size: int, words: str
) -> None:
    with pytest.raises(ProtocolError, match=words) as refusal:
        regions.register("frames", segment.name, offset, byte_size)
    assert refusal.value.code is Code.INVALID
    assert regions.status() == []


@pytest.mark.parametrize(
    "key", ["", "/", "..", "/..", "../etc/passwd", "//a", "/a/b", "a\0b", "a b", "x" * 300]
)
def test_a_key_is_a_plain_name(key: str) -> None:
    with pytest.raises(ProtocolError, match="wanted a name of letters"):
        path_of(key)


def test_the_servers_own_names_are_refused(regions: SharedRegions) -> None:
    with pytest.raises(ProtocolError, match="the server's own"):
        regions.register("frames", "/grandopt_ring", 0, 8)


def test_only_shared_memory_is_opened(regions: SharedRegions) -> None:
    with pytest.raises(ProtocolError, match="cannot be opened: No such file"):
        regions.register("frames", "/no-such-segment-here", 0, 8)
    link, pipe = Path(f"/dev/shm/link-{os.getpid()}"), Path(f"/dev/shm/pipe-{os.getpid()}")
    link.symlink_to("/etc/hostname")
    os.mkfifo(pipe)
    try:
        with pytest.raises(ProtocolError, match="cannot be opened"):
            regions.register("frames", link.name, 0, 8)
        with pytest.raises(ProtocolError, match="is no shared memory"):
            regions.register("frames", pipe.name, 0, 8)
    finally:
        link.unlink()
        pipe.unlink()


def test_a_name_is_registered_once_and_limits_hold(segment: SharedMemory, regions: SharedRegions) -> None:
    regions.register("one", segment.name, 0, 4096)
    with pytest.raises(ProtocolError, match="registered already"):
        regions.register("one", segment.name, 0, 8)
    regions.register("two", segment.name, 0, 4096)
    with pytest.raises(ProtocolError, match="over the limit of 10000") as refusal:
        regions.register("three", segment.name, 0, 4096)
    assert refusal.value.code is Code.TOO_LARGE
    regions.register("three", segment.name, 0, 8)
    with pytest.raises(ProtocolError, match="3 regions are registered"):
        regions.register("four", segment.name, 0, 8)
    with pytest.raises(ProtocolError, match="wanted 1 to 256"):
        regions.register("x" * 257, segment.name, 0, 8)


def test_an_output_that_does_not_fit_is_refused(segment: SharedMemory, regions: SharedRegions) -> None:
    regions.register("frames", segment.name, 0, 8)
    with pytest.raises(ProtocolError, match="takes 5 bytes, and 4 are given"):
        regions.write(Region("frames", 4, 0), b"abcde")


def _cut(path: Path) -> None:
    os.truncate(path, 10)


def _emptied(path: Path) -> None:
    os.truncate(path, 0)


@pytest.mark.parametrize("change", [_cut, _emptied])
def test_a_client_that_cuts_its_segment_gets_an_error_and_no_more(
    segment: SharedMemory, regions: SharedRegions, change: Callable[[Path], None]
) -> None:
    regions.register("frames", segment.name, 0, 4096)
    change(Path("/dev/shm") / segment.name)
    for size in (11, 4096):
        with pytest.raises(ProtocolError, match=f"{size} from 0 are not in it"):
            regions.read(Region("frames", size, 0))
    with pytest.raises(ProtocolError, match="4096 from 0 are not in it"):
        regions.write(Region("frames", 4096, 0), bytes(4096))
    assert (Path("/dev/shm") / segment.name).stat().st_size in (0, 10), "a write made it longer"
    os.truncate(Path("/dev/shm") / segment.name, 4096)
    assert regions.read(Region("frames", 4096, 0))[10:] == bytes(4086)


def test_a_client_that_removes_the_name_takes_nothing_away(regions: SharedRegions) -> None:
    segment = SharedMemory(create=True, size=64)
    regions.register("frames", segment.name, 0, 64)
    segment.buf[:4] = b"abcd"
    segment.unlink()
    assert regions.read(Region("frames", 4)) == b"abcd"
    segment.close()
    assert regions.read(Region("frames", 4)) == b"abcd"


def test_descriptors_are_given_back(segment: SharedMemory) -> None:
    regions = SharedRegions()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for index in range(20):
        regions.register(f"r{index}", segment.name, 0, 8)
        with pytest.raises(ProtocolError):
            regions.register(f"s{index}", segment.name, 0, 5000)
    assert len(list(Path("/proc/self/fd").iterdir())) == before + 20
    regions.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
