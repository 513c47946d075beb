"""A folder of artifacts: what of it is served, and how that changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from grandopt.artifacts.artifact import read
from grandopt.config.cache import CacheConfig
from grandopt.config.names import nearest
from grandopt.errors import ArtifactError, ConfigError, GrandoptError
from grandopt.runtime.engine.engine import Engine
from grandopt.runtime.engine.version import Version, loaded
from grandopt.serving.protocol.errors import Code, ProtocolError
from grandopt.serving.repository.layout import Candidate, candidates
from grandopt.serving.repository.served import Served, check_served

Mode = Literal["none", "poll", "explicit"]
"""When agents are loaded: once at the start, whenever the folder changes, or when somebody asks for it."""
State = Literal["READY", "UNAVAILABLE", "LOADING", "UNLOADING"]
_log = logging.getLogger(__name__)


class Indexed(NamedTuple):
    """One version of the index; `reason` says why it is not served, where something is in the way."""

    name: str
    version: str
    state: State
    reason: str


class Repository:
    """Serves the artifacts of `folder` through `engine`. It belongs to the engine's event loop.

    Of each agent one version is served, see `candidates`. Another one takes over without a lost request: it
    is checked against its manifest, loaded and measured beside the one that serves, which goes on until its
    last batch has ended. One that cannot be loaded, or takes or gives other tensors, leaves the old one in
    its place, and its reason in the index; for other tensors, unload the agent first.

    In the mode "explicit" only the agents of `first` are loaded at the start; in "poll" the folder is looked
    at every `poll_s` seconds. `trust`, `threads`, `cache` and `changes` are those of `Engine.load`.
    """

    def __init__(
        self,
        folder: Path,
        engine: Engine,
        *,
        mode: Mode = "none",
        first: Sequence[str] = (),
        poll_s: float = 1.0,
        trust: bool = False,
        threads: int | None = None,
        cache: CacheConfig | None = None,
        changes: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder, self.mode = folder, mode
        self.served: dict[str, Served] = {}
        """What is served, by name."""
        self.coming: dict[str, Served] = {}
        """Versions that take over just now: the engine may answer with them already."""
        self.watchers: list[Callable[[str], None]] = []
        """Called with the name of an agent that is served from now on, by another version, or no longer."""
        self._engine = engine
        self._first = tuple(first)
        self._poll_s = poll_s
        self._trust, self._threads, self._cache = trust, threads, cache
        self._changes = dict(changes or {})
        self._known: dict[str, Candidate] = {}
        self._tried: dict[str, Candidate] = {}
        self._states: dict[str, Indexed] = {}
        self._turns: dict[str, asyncio.Lock] = {}
        self._under_way: set[asyncio.Task[None]] = set()
        self._started = False
        self._polling: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        """Whether all agents that should be served are, but for those that cannot be."""
        wanted = self._first if self.mode == "explicit" else self._known
        return self._started and all(name in self.served or self._gave_up(name) for name in wanted)

    async def start(self) -> None:
        """Load what is to be served at the start.

        Broken artifacts are left out, and told in the log and the index. Raises ConfigError for a folder
        without artifacts (but in the modes that wait for some), and what the first broken one raises where
        not one agent can be served.
        """
        self._known = await asyncio.to_thread(candidates, self.folder)
        if not self._known and self.mode == "none":
            raise ConfigError(
                f"{self.folder}: holds no artifact; give the folder that artifacts were written to, such as "
                f"artifacts/"
            )
        errors = []
        for name in self._first if self.mode == "explicit" else self._known:
            try:
                await self.load(name)
            except ProtocolError as error:
                errors.append(error)
        if errors and not self.served and self.mode != "poll":
            others = f", nor are {len(errors) - 1} others" if len(errors) > 1 else ""
            raise ArtifactError(f"not one agent can be served: {errors[0]}{others}")
        for told in errors:
            _log.warning("%s", told)
        self._started = True
        if self.mode == "poll":
            self._polling = asyncio.get_running_loop().create_task(self._poll())

    async def stop(self) -> None:
        """Look at the folder no more; what is served stays, and is the engine's to end."""
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.wait([self._polling])
            self._polling = None
        if self._under_way:
            await asyncio.wait(self._under_way)

    def index(self) -> list[Indexed]:
        """All versions that are there or were, and why those are not served that are not."""
        rows = []
        for name in sorted({*self._known, *self._states, *self.served}):
            served, state = self.served.get(name), self._states.get(name)
            if served is not None:
                rows.append(Indexed(name, served.version, "READY", ""))
            if state is not None:
                rows.append(state)
            elif served is None:
                rows.append(Indexed(name, self._known[name].version, "UNAVAILABLE", "not loaded"))
        return rows

    def reason(self, name: str) -> str | None:
        """Why an agent of the folder is not served; None for one that is not there."""
        state = self._states.get(name)
        if state is not None:
            return state.reason or state.state.lower()
        return "not loaded" if name in self._known else None

    async def load(self, name: str) -> None:
        """Serve the version of an agent that is in the folder now, in the place of another one if need be.

        Raises ProtocolError: NOT_FOUND for an agent that is not there, INVALID for one that cannot be served,
        after which the one before still is. A caller that is cancelled does not stop it half-way.
        """
        self._known = await asyncio.to_thread(self._look)
        self._found(name)
        await self._carried_out(self._load_found(name))

    async def unload(self, name: str) -> None:
        """Serve an agent no longer; returns when its last requests are answered. Raises as `load`."""
        if name not in self.served:
            self._found(name)
        await self._carried_out(self._unload(name))

    def _found(self, name: str) -> Candidate:
        candidate = self._known.get(name)
        if candidate is None:
            hint = nearest(name[:100], self._known)
            raise ProtocolError(Code.NOT_FOUND, f"{self.folder} holds no agent {name!r:.100}{hint}")
        return candidate

    async def _carried_out(self, change: Coroutine[Any, Any, None]) -> None:
        """Let a change come to its end, whether or not its caller waits for that."""
        task = asyncio.get_running_loop().create_task(change)
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # seen: its caller may have gone, and the index has the reason

    async def _load_found(self, name: str) -> None:
        async with self._turns.setdefault(name, asyncio.Lock()):
            self._known = await asyncio.to_thread(self._look)  # again: what is there when it is its turn
            await self._load(self._found(name))

    async def _unload(self, name: str) -> None:
        async with self._turns.setdefault(name, asyncio.Lock()):
            served = self.served.pop(name, None)
            if served is None:
                return
            self._states[name] = Indexed(name, served.version, "UNLOADING", "")
            self._changed(name)
            try:
                await self._engine.unload(name)
            finally:
                self._states[name] = Indexed(name, served.version, "UNAVAILABLE", "unloaded")

    async def _load(self, candidate: Candidate) -> None:
        name = candidate.name
        old = self.served.get(name)
        self._tried[name] = candidate
        self._states[name] = Indexed(name, candidate.version, "LOADING", "")
        try:
            version = await asyncio.to_thread(self._opened, candidate)
            same = old is not None and old.is_of(candidate.version, version.origin.digest)
            if not same:
                await self._serve(candidate, version, old)
        except GrandoptError as error:
            self._states[name] = Indexed(name, candidate.version, "UNAVAILABLE", str(error))
            raise ProtocolError(Code.INVALID, f"{name} is not loaded: {error}") from error
        except BaseException:
            self._states[name] = Indexed(name, candidate.version, "UNAVAILABLE", "loading was given up")
            raise
        del self._states[name]

    async def _serve(self, candidate: Candidate, version: Version, old: Served | None) -> None:
        name, origin = candidate.name, version.origin
        if old is None:
            await self._engine.add_in_background(name, version, cache=self._cache, **self._changes)
        made = Served(
            name, candidate.version, origin.digest, origin.engine, version, self._engine.served(name)
        )
        if old is not None:
            self.coming[name] = made
            try:
                await self._engine.replace(name, version)
            finally:
                del self.coming[name]
        self.served[name] = made
        self._changed(name)

    def _opened(self, candidate: Candidate) -> Version:
        """The artifact, checked against its manifest and called once; runs on a thread of its own."""
        if candidate.reason:
            raise ArtifactError(candidate.reason)
        try:
            version, its = loaded(candidate.path, trust=self._trust, threads=self._threads)
            if version.origin.keys is not None and its != candidate.name:
                raise ArtifactError(
                    f"{candidate.path}: is signed as {its!r}, and would be served as {candidate.name!r}; "
                    f"name the folder {its!r}"
                )
            check_served(candidate, version.signature)
            if candidate.name in self.served:
                read(candidate.path).verify()
        except OSError as error:  # removed or replaced while it was read
            raise ArtifactError(f"{candidate.path}: cannot be read: {error.strerror}") from error
        version.run([np.zeros((1, *spec.shape), spec.dtype) for spec in version.signature.inputs])
        return version

    def _look(self) -> dict[str, Candidate]:
        """What is in the folder; what was there before where it cannot be read just now."""
        try:
            return candidates(self.folder)
        except (GrandoptError, OSError) as error:
            _log.warning("%s", error)
            return self._known

    def _changed(self, name: str) -> None:
        for watcher in self.watchers:
            watcher(name)

    def _gave_up(self, name: str) -> bool:
        state = self._states.get(name)
        return state is not None and state.state == "UNAVAILABLE"

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(self._poll_s)
            found = await asyncio.to_thread(self._look)
            for name in [name for name in self.served if name not in found]:
                await self._quietly(self.unload(name), name)
                self._states.pop(name, None)
                self._tried.pop(name, None)
            self._known = found
            for name, candidate in found.items():
                if candidate != self._tried.get(name):
                    await self._quietly(self.load(name), name)

    async def _quietly(self, change: Awaitable[None], name: str) -> None:
        """A change that nobody waits for: what is wrong with it is told in the log and the index."""
        try:
            await change
        except GrandoptError as error:
            _log.warning("%s: %s", name, error)
