"""The request that lets a worker import modules, so that no later request waits for it."""

from __future__ import annotations

from dataclasses import dataclass

from grandopt.measurement.wire.codec import Done, Request


@dataclass(frozen=True)
class Prepare(Request[Done], kind="prepare"):
    """Import modules, so that no later request waits for it."""

    modules: tuple[str, ...]
