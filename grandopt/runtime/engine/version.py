"""What computes an agent's answers at present."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any
from uuid import uuid4

from grandopt.artifacts.artifact import read
from grandopt.artifacts.signing.keys import TrustedKeys
from grandopt.artifacts.signing.requirement import Requirement, required
from grandopt.errors import ConfigError
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.loader import load
from grandopt.signature import Array


@dataclass(frozen=True)
class Origin:
    """Where a version comes from: its engine, and the artifact's folder and digest, or what was in memory.

    `digest` names the answers; two versions in memory never have the same. `keys` are those one of which had
    to have signed the artifact.
    """

    engine: str
    digest: str
    path: Path | None = None
    keys: TrustedKeys | None = None


class Version(Executor):
    """An executor as long as anything uses it: batches, calls from other threads, sessions.

    An executor that is `owned` is closed when the last of them has let go of the version, which no lock and
    no count at each call has to find out. Thread safety: as the executor's.
    """

    def __init__(self, executor: Executor, origin: Origin, *, owned: bool) -> None:
        super().__init__(executor.signature, executor.contract)
        self.contiguous = executor.contiguous
        self.flushes_denormals = executor.flushes_denormals
        self.executor = executor
        self.origin = origin
        if owned:
            weakref.finalize(self, executor.close).atexit = False

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        # A frame of its own, which keeps the version while the executor computes.
        return self.executor.run(inputs)

    def __call__(self, *observation: Any) -> Any:
        return self.executor(*observation)

    def run_into(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        self.executor.run_into(inputs, outputs)


def loaded(
    path: Path | str, *, trust: bool, threads: int | None, require_signature: Requirement = None
) -> tuple[Version, str]:
    """The artifact at `path` as a version that owns its executor, and the agent's name; raises as `load`, and
    ConfigError for what is no path."""
    if not isinstance(path, str | PathLike):
        raise ConfigError(
            f"an agent to be served is an artifact's folder or an executor such as grandopt.load gives, got "
            f"{type(path).__name__}"
        )
    path, keys = Path(path), required(require_signature)
    while True:
        manifest = read(path, keys).manifest
        executor = load(path, trust=trust, threads=threads, require_signature=keys)
        after = read(path, keys).manifest
        if after.digest == manifest.digest:
            origin = Origin(manifest.engine, manifest.digest, path, keys)
            return Version(executor, origin, owned=True), manifest.name
        executor.close()  # replaced by a newer build while it was loaded


def given(executor: Executor, *, owned: bool = False, engine: str | None = None) -> Version:
    """An executor in memory as a version; raises ConfigError for anything else."""
    if not isinstance(executor, Executor):
        raise ConfigError(
            f"an agent to be served is an executor such as grandopt.load gives, got {type(executor).__name__}"
        )
    if isinstance(executor, Version):
        return executor
    return Version(executor, Origin(engine or type(executor).__name__, uuid4().hex), owned=owned)
