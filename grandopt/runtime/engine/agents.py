"""The agents of an engine by name, and the event loop that they belong to."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from grandopt.artifacts.signing.requirement import Requirement
from grandopt.config.cache import CacheConfig
from grandopt.config.names import check_agent_name, nearest
from grandopt.config.serving import ServingConfig, changed
from grandopt.config.serving_profiles import serving_config
from grandopt.errors import ConfigError, EngineClosed, ServingError, UnknownAgentError
from grandopt.runtime.engine.follower import Follower
from grandopt.runtime.engine.parts import Parts
from grandopt.runtime.engine.served import ServedAgent
from grandopt.runtime.engine.shadow import Shadow
from grandopt.runtime.engine.version import Version, given, loaded
from grandopt.runtime.engine.working import Measured, measured
from grandopt.runtime.executors.base import Executor


class ServedAgents:
    """Loads, replaces and unloads agents; the base of an engine, which asks them.

    Everything here belongs to the event loop that initialized the engine, and raises ServingError elsewhere,
    EngineClosed before that and after a shutdown.
    """

    def __init__(self) -> None:
        self._agents: dict[str, ServedAgent] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._config: ServingConfig = serving_config()
        self._closed = False
        self._parts: Parts | None = None

    def load(
        self,
        path: Path | str,
        name: str | None = None,
        *,
        trust: bool = False,
        threads: int | None = None,
        cache: CacheConfig | None = None,
        require_signature: Requirement = None,
        **changes: Any,
    ) -> str:
        """Serve the artifact at `path` under `name` (without one, its own); returns the name.

        `trust`, `threads` and `require_signature` as for `grandopt.load`. With `cache` answers are kept, if
        the profile has caches. `changes` are fields of ServingConfig for this agent. What a batch costs is
        measured first; that and loading hold up the event loop for some hundredths of a second. Raises what
        `grandopt.load` does, and ConfigError for a name that is taken or a field that is wrong.
        """
        self._require_loop()
        if name is not None:
            self._check_free(name)
        version, its = loaded(path, trust=trust, threads=threads, require_signature=require_signature)
        return self._serve(its if name is None else name, version, cache, changes)

    def add(self, name: str, executor: Executor, *, cache: CacheConfig | None = None, **changes: Any) -> str:
        """Serve an executor that is in memory already; otherwise as `load`. It stays its owner's to close."""
        self._require_loop()
        return self._serve(name, given(executor), cache, changes)

    async def add_in_background(
        self, name: str, executor: Executor, *, cache: CacheConfig | None = None, **changes: Any
    ) -> str:
        """As `add`; the agent is measured on another thread, and the event loop goes on meanwhile."""
        self._require_loop()
        self._check_free(name)
        version, config = given(executor), changed(self._config, changes)
        known = await asyncio.to_thread(measured, version.executor, config) if config.batching else None
        self._require_loop()  # it may have been shut down
        return self._serve(name, version, cache, changes, known)

    async def replace(
        self,
        name: str,
        by: Path | str | Executor,
        *,
        trust: bool = False,
        threads: int | None = None,
        require_signature: Requirement = None,
    ) -> None:
        """Answer the requests of an agent with another artifact or executor from now on.

        A request is answered wholly by one of them: batches that run end with the old one, which is closed
        then, if it was loaded here. Returns when that is so. Raises what `load` does, and SignatureError for
        one with other inputs or outputs; then nothing has changed.
        """
        agent = self._agent(name)
        if isinstance(by, Executor):
            version = given(by)
        else:
            version, _ = await asyncio.to_thread(
                loaded, by, trust=trust, threads=threads, require_signature=require_signature
            )
        await agent.replace(version)
        if self._parts is not None and self._agents.get(name) is agent:
            self._parts.serves(agent)

    def shadow(
        self,
        name: str,
        candidate: Path | str | Executor,
        *,
        trust: bool = False,
        threads: int | None = None,
        require_signature: Requirement = None,
        **options: Any,
    ) -> Shadow:
        """Give a share of an agent's traffic to a candidate, too; its answers are compared and discarded.

        `options` are `share` of the observations (0.1), `effort` of the time that the candidate may be at
        work, `tolerance` of continuous actions, and `seed`: see Shadow. Raises what `load` and Shadow do.
        """
        agent = self._agent(name)
        if isinstance(candidate, Executor):
            version = given(candidate)
        else:
            version, _ = loaded(candidate, trust=trust, threads=threads, require_signature=require_signature)
        return Shadow(
            agent, version, partial(self.replace, name, require_signature=require_signature), **options
        )

    def follow(self, name: str, follower: Follower) -> Version:
        """What answers for an agent now; `follower`, which answers beside the engine with it, is told when
        that changes, and what it has counted is counted among the agent's direct calls."""
        agent = self._agent(name)
        agent.direct.join(follower.stats)
        agent.changed.add(follower.changed)
        agent.closing.add(follower.ended)
        follower.leave = partial(_unfollowed, agent, follower)
        return agent.version

    async def unload(self, name: str) -> None:
        """Serve the agent no longer: requests that wait are answered before this returns."""
        agent = self._agent(name)
        del self._agents[name]
        if self._parts is not None:
            self._parts.forgets(name)
        await agent.close(drain=True)

    def served(self, name: str) -> ServedAgent:
        """The agent of that name itself, for callers that ask it often; it is the engine's. Raises
        UnknownAgentError."""
        return self._agent(name)

    @property
    def agents(self) -> tuple[str, ...]:
        """The names of the agents that are served."""
        return tuple(self._agents)

    def _serve(
        self,
        name: str,
        version: Version,
        cache: CacheConfig | None,
        changes: dict[str, Any],
        known: Measured | None = None,
    ) -> str:
        self._check_free(name)
        config = changed(self._config, changes)
        kept = cache if config.cache else None
        agent = self._agents[name] = ServedAgent(name, version, config, kept, known)
        if self._parts is not None:
            self._parts.serves(agent)
        return name

    def _check_free(self, name: str) -> None:
        if not isinstance(name, str):
            raise ConfigError(f"the name of an agent is text, got {name!r:.60}")
        try:
            check_agent_name(name)
        except ValueError as error:
            raise ConfigError(f"not a name of an agent: {error}") from error
        if name in self._agents:
            raise ConfigError(f"an agent {name!r} is served already; replace or unload it")

    def _agent(self, name: str) -> ServedAgent:
        self._require_loop()
        try:
            return self._agents[name]
        except (KeyError, TypeError):  # a list, say, which is no key
            self._refuse(name)

    def _require_loop(self) -> None:
        """Raise EngineClosed or ServingError unless this is the engine's loop."""
        if self._closed:
            raise EngineClosed("the engine is shut down")
        if self._loop is None:
            raise EngineClosed("the engine is not initialized: `await engine.initialize()` first")
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is not self._loop:
            raise ServingError(
                "the engine belongs to the event loop that initialized it; other threads and loops can call "
                "infer_now, or hand coroutines over by asyncio.run_coroutine_threadsafe"
            )

    def _refuse(self, name: object, *, anywhere: bool = False) -> NoReturn:
        if not anywhere or self._closed or self._loop is None:
            self._require_loop()
        names = tuple(self._agents)
        hint = nearest(str(name), names) if names else " (none is served yet)"
        raise UnknownAgentError(f"no agent {name!r} is served{hint}")

    def _is_idle(self) -> bool:
        return all(agent.idle for agent in self._agents.values())

    def _ended_requests(self) -> int:
        return sum(agent.ended for agent in self._agents.values())


def _unfollowed(agent: ServedAgent, follower: Follower) -> None:
    agent.changed.discard(follower.changed)
    agent.closing.discard(follower.ended)
    agent.direct.leave(follower.stats)
