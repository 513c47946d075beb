"""What is told of a server that has started."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Summary:
    """`addresses` by what is served there ("http", "grpc", "metrics", "ring"), `models` as in the index."""

    addresses: dict[str, list[str]]
    models: list[dict[str, Any]]
    workers: int = 1

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
