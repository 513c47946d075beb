"""What the pages ask of a data plane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from grandopt.runtime.engine.engine import Engine


class Source(Protocol):
    """The part of a data plane that is shown; it belongs to the engine's event loop."""

    @property
    def engine(self) -> Engine: ...
    @property
    def ready(self) -> bool: ...
    def server_metadata(self) -> dict[str, Any]: ...
    def statistics(self, model: str = "", version: str = "") -> dict[str, Any]: ...
    def failures(self) -> Mapping[str, Mapping[Any, int]]:
        """Requests that failed, by model and by Triton's reason."""

    def index(self, ready: bool = False) -> list[dict[str, Any]]: ...
