"""What an engine made of a payload, kept once per process however often the payload is loaded."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar
from weakref import WeakValueDictionary

from grandopt.artifacts.artifact import Artifact

T = TypeVar("T")


class Shared(Generic[T]):
    """Holds `value` for the executors that use it; the last of them takes it along."""

    __slots__ = ("__weakref__", "value")

    def __init__(self, value: T) -> None:
        self.value = value


_living: WeakValueDictionary[tuple[str, ...], Shared[Any]] = WeakValueDictionary()
_lock = threading.Lock()


def shared(key: tuple[str, ...], make: Callable[[], T]) -> Shared[T]:
    """What `make` gives, or what it gave for an equal `key` before and is still in use.

    Engines pack weights for their kernels, so equal agents share them only by sharing what holds them; it
    must be usable from several threads. Raises what `make` raises.
    """
    known = _living.get(key)
    if known is None:
        made = Shared(make())  # not under the lock: loading takes its time, and others load other things
        with _lock:
            known = _living.setdefault(key, made)
    return known


def contents(artifact: Artifact, threads: int) -> tuple[str, ...]:
    """The key of all that makes an artifact's engine what it is: what it is called with, options and threads.

    Agents' names and places are not in it: what has equal payloads shares, as a copy of an artifact does.
    What was opened from sealed copies is not shared with what refers to files that somebody could change.
    """
    manifest = artifact.manifest
    files = sorted(f"{entry.name} {entry.sha256}" for entry in manifest.needed)
    place = "files" if artifact.signer is None else "sealed"
    return (manifest.engine, place, json.dumps(manifest.options, sort_keys=True), str(threads), *files)
