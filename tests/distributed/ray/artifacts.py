"""Artifacts for a cluster: agents that scale, whose answers say which of them gave them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from grandopt.artifacts.artifact import write
from tests.serving.artifacts import put, scaled


def written(folder: Path) -> None:
    """All that `on_cluster` asks for."""
    for name, factor in (("double", 2.0), ("triple", 3.0), ("altered", 2.0)):
        put(scaled(factor, engine="native"), folder / name)
    for name, factor, width in (("left", 2.0, 4), ("right", 3.0, 4), ("both", 5.0, 8)):
        artifact = scaled(factor, width, engine="native")
        write(folder / "parts" / name, replace(artifact.manifest, name=name), artifact.payloads())
    payload = next(path for path in (folder / "altered").iterdir() if path.name != "manifest.json")
    content = payload.read_bytes()
    payload.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
