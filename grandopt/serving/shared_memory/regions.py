"""Regions of shared memory by the names under which clients have registered them."""

from __future__ import annotations

from typing import Any, NamedTuple

from grandopt.serving.protocol.errors import Code, ProtocolError
from grandopt.serving.protocol.messages import Region
from grandopt.serving.shared_memory.segment import Segment

MAX_REGIONS = 1024
MAX_TOTAL_BYTES = 1 << 34
LONGEST_NAME = 256


class Registered(NamedTuple):
    """`byte_size` bytes from `offset` of a segment."""

    segment: Segment
    offset: int
    byte_size: int


class SharedRegions:
    """What clients have registered, at most `max_regions` of together `max_total_bytes` bytes.

    Every size is checked against the segment when it is registered and at each use, because it is the
    client's to change. Belongs to one thread. Everything here raises ProtocolError.
    """

    def __init__(self, max_regions: int = MAX_REGIONS, max_total_bytes: int = MAX_TOTAL_BYTES) -> None:
        self._regions: dict[str, Registered] = {}
        self._max_regions = max_regions
        self._max_total_bytes = max_total_bytes

    def register(self, name: str, key: str, offset: int, byte_size: int) -> None:
        """`name` stands for `byte_size` bytes from `offset` of the shared memory `key` from now on."""
        if not name or len(name) > LONGEST_NAME:
            raise ProtocolError(
                Code.INVALID, f"region name {name!r:.80}: wanted 1 to {LONGEST_NAME} characters"
            )
        if name in self._regions:
            raise ProtocolError(
                Code.INVALID, f"region {name!r:.80} is registered already; unregister it first"
            )
        if offset < 0 or byte_size < 1:
            raise ProtocolError(
                Code.INVALID,
                f"region {name!r:.80}: offset {offset} and byte_size {byte_size}; wanted at least 0 and 1",
            )
        if len(self._regions) >= self._max_regions:
            raise ProtocolError(
                Code.TOO_LARGE,
                f"{self._max_regions} regions are registered, which is the limit; unregister some",
            )
        total = byte_size + sum(one.byte_size for one in self._regions.values())
        if total > self._max_total_bytes:
            raise ProtocolError(
                Code.TOO_LARGE,
                f"region {name!r:.80}: with its {byte_size} bytes {total} would be registered, over the "
                f"limit of {self._max_total_bytes}",
            )
        segment = Segment(key)
        try:
            segment.require(offset, byte_size)
        except ProtocolError:
            segment.close()
            raise
        self._regions[name] = Registered(segment, offset, byte_size)

    def unregister(self, name: str = "") -> None:
        """Forget this region, or all for an empty name. One that is not registered is no error."""
        gone = [*self._regions] if not name else [name] if name in self._regions else []
        for one in gone:
            self._regions.pop(one).segment.close()

    def status(self, name: str = "") -> list[dict[str, Any]]:
        """What is registered, or this one, as the protocol says it."""
        if name:
            self._registered(name)
        return [
            {"name": each, "key": one.segment.key, "offset": one.offset, "byte_size": one.byte_size}
            for each, one in self._regions.items()
            if name in ("", each)
        ]

    def read(self, region: Region) -> bytes:
        """A copy of what is there now."""
        one = self._within(region, region.byte_size)
        return one.segment.read(one.offset + region.offset, region.byte_size)

    def write(self, region: Region, data: bytes | memoryview) -> None:
        """Put `data` at the beginning of `region`, which has to be large enough."""
        size = len(data)
        if size > region.byte_size:
            raise ProtocolError(
                Code.INVALID,
                f"region {region.name!r:.80}: the output takes {size} bytes, and {region.byte_size} are "
                "given",
            )
        one = self._within(region, region.byte_size)
        one.segment.write(one.offset + region.offset, data)

    def close(self) -> None:
        """Forget all regions."""
        self.unregister()

    def _within(self, region: Region, byte_size: int) -> Registered:
        one = self._registered(region.name)
        if region.offset < 0 or byte_size < 0 or region.offset + byte_size > one.byte_size:
            raise ProtocolError(
                Code.INVALID,
                f"region {region.name!r:.80} has {one.byte_size} bytes; {byte_size} from {region.offset} are "
                "not in it",
            )
        return one

    def _registered(self, name: str) -> Registered:
        try:
            return self._regions[name]
        except KeyError:
            raise ProtocolError(
                Code.NOT_FOUND, f"region {name!r:.80} is not registered; register it before it is used"
            ) from None
