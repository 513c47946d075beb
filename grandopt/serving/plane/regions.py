"""What the plane needs of the shared memory of clients."""

from __future__ import annotations

from typing import Any, Protocol

from grandopt.serving.protocol.messages import Region


class Regions(Protocol):
    """Shared memory that clients have registered; all of it raises ProtocolError."""

    def register(self, name: str, key: str, offset: int, byte_size: int) -> None:
        """`name` stands for `byte_size` bytes from `offset` of the shared memory `key` from now on."""

    def unregister(self, name: str = "") -> None:
        """Forget this region, or all for an empty name."""

    def status(self, name: str = "") -> list[dict[str, Any]]:
        """What is registered, or this one, as the protocol says it."""

    def read(self, region: Region) -> bytes:
        """A copy of what is there now."""

    def write(self, region: Region, data: bytes | memoryview) -> None:
        """Put `data` at the beginning of `region`, which has to be large enough."""
